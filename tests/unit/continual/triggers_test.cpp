// Schedules, triggers and brakes as functions of a clock's value.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "runtime/continual/triggers.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;

constexpr int64_t kHour = 3600;

int64_t at(int year, unsigned month, unsigned day, int hour = 0, int minute = 0) {
  using namespace std::chrono;
  return sys_days{std::chrono::year{year} / month / day}.time_since_epoch().count() * 24 * kHour + hour * kHour + minute * 60;
}

TEST(Schedule, NextInstants) {
  struct Case {
    const char* text;
    int64_t after, next;
  };
  for (const auto& c : std::vector<Case>{{"daily", at(2024, 2, 28, 12), at(2024, 2, 29)},
                                         {"daily", at(2024, 2, 29), at(2024, 3, 1)},  // strictly after
                                         {"weekly", at(2024, 1, 1), at(2024, 1, 7)},  // 7 January 2024 is a Sunday
                                         {"30 2 * * 1-5", at(2024, 1, 5, 2, 30), at(2024, 1, 8, 2, 30)},
                                         {"30 2 * * mon-FRI", at(2024, 1, 5, 2, 29), at(2024, 1, 5, 2, 30)},
                                         {"*/15 8-10 * * *", at(2024, 1, 1, 8, 45), at(2024, 1, 1, 9)},
                                         {"*/15 8-10 * * *", at(2024, 1, 1, 10, 45), at(2024, 1, 2, 8)},
                                         {"5/20 * * * *", at(2024, 1, 1, 0, 6), at(2024, 1, 1, 0, 25)},
                                         {"0 0 29 2 *", at(2097, 1, 1), at(2104, 2, 29)},  // 2100 is no leap year
                                         {"0 0 1,15 * *", at(2023, 12, 15), at(2024, 1, 1)},
                                         {"0 0 13 * 5", at(2024, 1, 2), at(2024, 1, 5)},  // a Friday or a 13th
                                         {"0 0 13 * 5", at(2024, 1, 12), at(2024, 1, 13)},
                                         {"0 0 * * 7", at(2024, 1, 1), at(2024, 1, 7)},
                                         {"59 23 31 dec *", at(2024, 5, 5), at(2024, 12, 31, 23, 59)},
                                         {"0 12 */10 * *", at(2024, 1, 1, 13), at(2024, 1, 11, 12)},
                                         {"0 0 * * *", at(1969, 12, 30, 5), at(1969, 12, 31)}})
    EXPECT_EQ(CycleSchedule(c.text).next(c.after), c.next) << c.text << " after " << c.after;
  EXPECT_EQ(CycleSchedule("manual").next(0), std::nullopt);
  EXPECT_EQ(CycleSchedule("0 0 30 2 *").next(0), std::nullopt);
}

TEST(Schedule, MissedOnesAreOne) {
  const CycleSchedule weekly("weekly");
  EXPECT_FALSE(weekly.due(at(2024, 1, 7), at(2024, 1, 13, 23, 59)));
  EXPECT_TRUE(weekly.due(at(2024, 1, 7), at(2024, 1, 14)));
  EXPECT_TRUE(weekly.due(at(2024, 1, 7), at(2024, 6, 1)));
  EXPECT_FALSE(CycleSchedule("manual").due(0, at(2024, 1, 1)));
}

TEST(Schedule, WrongTextsAreNamed) {
  for (const char* text : {"", "hourly", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *",
                           "* * * 13 *", "* * * * 8", "5-1 * * * *", "*/0 * * * *", "a * * * *", "1,,2 * * * *", "-1 * * * *",
                           "1- * * * *", "*/x * * * *", "99999999999 * * * *", "mon * * * *"})
    EXPECT_THROW(CycleSchedule{text}, ConfigError) << text;
}

TEST(Trigger, TheFirstThatHolds) {
  const CycleSchedule manual("manual"), daily("daily");
  const auto kind = [&](TriggerInputs in, const CycleSchedule& schedule) { return triggered(in, schedule, at(2024, 1, 2)); };
  TriggerInputs in;
  in.last_cycle = at(2024, 1, 1, 12);
  EXPECT_EQ(kind(in, manual), std::nullopt);
  EXPECT_EQ(kind(in, daily), TriggerKind::kSchedule);
  in.new_labelled = 999;
  EXPECT_EQ(kind(in, manual), std::nullopt);
  in.new_labelled = 1000;
  EXPECT_EQ(kind(in, manual), TriggerKind::kNewData);
  in.train_examples = 10'001;  // a tenth is more than 1,000
  EXPECT_EQ(kind(in, manual), std::nullopt);
  in.accuracy_drop_lcb = 0.02;
  EXPECT_EQ(kind(in, manual), std::nullopt);
  in.accuracy_drop_lcb = 0.021;
  EXPECT_EQ(kind(in, manual), TriggerKind::kAccuracyDrop);
  in.drift_alarm = true;
  EXPECT_EQ(kind(in, daily), TriggerKind::kDrift);
  in.manual = true;
  EXPECT_EQ(kind(in, daily), TriggerKind::kManual);
  EXPECT_STREQ(trigger_name(TriggerKind::kDrift), "drift");
}

TEST(BrakesTest, AThousandAlarmsInADayStartOneCycle) {
  std::vector<PastCycle> history;
  for (int alarm = 0; alarm < 1000; ++alarm) {
    const int64_t now = at(2024, 1, 1) + alarm * 24 * kHour / 1000;
    if (braked(history, {}, TriggerKind::kDrift, now).empty()) history.push_back({now, CycleOutcome::kPromoted, 0});
  }
  EXPECT_EQ(history.size(), 1u);
}

TEST(BrakesTest, EachOfThem) {
  const int64_t now = at(2024, 1, 31);
  const auto brake = [&](std::vector<PastCycle> history, const Brakes& brakes = {}, TriggerKind kind = TriggerKind::kDrift) {
    return braked(history, brakes, kind, now);
  };
  const auto ago = [&](int64_t h, CycleOutcome outcome, double gpu = 0) { return PastCycle{now - h * kHour, outcome, gpu}; };
  using enum CycleOutcome;
  EXPECT_EQ(brake({}), "");
  EXPECT_THAT(brake({ago(23, kPromoted)}), HasSubstr("23.0 h ago"));
  EXPECT_EQ(brake({ago(24, kPromoted)}), "");
  EXPECT_THAT(brake({ago(47, kRejected)}), HasSubstr("waits 48.0 h"));
  EXPECT_EQ(brake({ago(48, kRejected)}), "");
  EXPECT_EQ(brake({ago(30, kInconclusive)}), "");
  const std::vector<PastCycle> three{ago(500, kRejected), ago(400, kRejected), ago(300, kRejected)};
  EXPECT_THAT(brake(three), HasSubstr("3 challengers in a row"));
  EXPECT_EQ(brake({ago(500, kRejected), ago(400, kPromoted), ago(300, kRejected), ago(200, kRejected)}), "");
  EXPECT_EQ(brake(three, {}, TriggerKind::kManual), "");
  std::vector<PastCycle> seven;
  for (int64_t day = 6; day >= 0; --day) seven.push_back(ago(24 * day + 1, kPromoted, 10));
  EXPECT_THAT(brake(seven, {}, TriggerKind::kManual), HasSubstr("7 cycles"));
  Brakes budget;
  budget.gpu_hours_per_week = 20;
  EXPECT_THAT(brake({ago(100, kPromoted, 12), ago(50, kPromoted, 8)}, budget), HasSubstr("20.0 GPU hours"));
  EXPECT_EQ(brake({ago(200, kPromoted, 12), ago(50, kPromoted, 8)}, budget), "");
}

}  // namespace
}  // namespace fmtrain
