#include "runtime/engine/schedule.h"

#include <gtest/gtest.h>

#include <fstream>

#include "runtime/json.h"

namespace fmtrain {
namespace {

const std::pair<const char*, ScheduleName> kNames[] = {{"linear", ScheduleName::kLinear}, {"cosine", ScheduleName::kCosine},
    {"constant", ScheduleName::kConstant}, {"inverse_sqrt", ScheduleName::kInverseSqrt}, {"wsd", ScheduleName::kWsd}};

ScheduleSection schedule_of(ScheduleName name, double warmup) {
  ScheduleSection schedule;
  schedule.name = name;
  schedule.warmup = warmup;
  return schedule;
}

TEST(Schedule, EqualsTransformersAtEveryStep) {
  std::ifstream file(FMTRAIN_SOURCE_DIR "/tests/golden/schedule/schedules.json");
  const auto golden = Json::parse(file);
  for (const auto& [name, value] : kNames)
    for (const double warmup : {4.0, 0.1})
      for (int64_t step = 0; step < 40; ++step)
        EXPECT_NEAR(learning_rate(schedule_of(value, warmup), 1.0, step, 40), golden.at(name).at(static_cast<size_t>(step)).get<double>(), 1e-15)
            << name << " step " << step;
}

TEST(Schedule, WarmupIsAShareRoundedUpOrANumberOfSteps) {
  EXPECT_EQ(warmup_steps(schedule_of(ScheduleName::kLinear, 0.1), 319), 32);
  EXPECT_EQ(warmup_steps(schedule_of(ScheduleName::kLinear, 0), 319), 0);
  EXPECT_EQ(warmup_steps(schedule_of(ScheduleName::kLinear, 25), 319), 25);
}

TEST(Schedule, ScalesWithThePeakAndNeverLeavesItsRange) {
  for (const auto& [name, value] : kNames)
    for (int64_t step = 0; step < 100; ++step) {
      const double rate = learning_rate(schedule_of(value, 0.2), 3e-4, step, 100);
      EXPECT_GE(rate, 0) << name;
      EXPECT_LE(rate, 3e-4) << name;
    }
}

}  // namespace
}  // namespace fmtrain
