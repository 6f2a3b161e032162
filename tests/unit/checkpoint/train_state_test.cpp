// Early stopping and the counters that survive a restart.
#include "runtime/train_state.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace fmtrain {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();

struct Case {
  const char* name;
  std::vector<double> values;
  bool larger_is_better;
  int64_t patience;
  double min_delta;
  int64_t best_step, stops_at;  ///< evaluations are steps 1, 2, ...; stops_at 0: never
};

EvaluateSection section(const Case& c) {
  EvaluateSection config;
  config.patience = c.patience;
  config.min_delta = c.min_delta;
  return config;
}

/// Feeds the values up to the stop; after every one the state goes through text, as at a restart.
TrainState run(const Case& c, bool restart_each_time) {
  TrainState state;
  for (const double value : c.values) {
    if (state.stopped_early) break;
    ++state.step;
    state.record(value, c.larger_is_better, section(c));
    if (restart_each_time) state = TrainState::from_json(parse_json(state.to_json().dump(), {}));
  }
  return state;
}

TEST(TrainState, StopsAndKeepsTheBest) {
  const std::vector<Case> cases{
      {"keeps rising", {0.1, 0.2, 0.3, 0.4}, true, 2, 0, 4, 0},
      {"two bad ones", {0.1, 0.5, 0.4, 0.3, 0.9}, true, 2, 0, 2, 4},
      {"a gain resets", {0.5, 0.4, 0.6, 0.5, 0.5, 0.5}, true, 3, 0, 3, 6},
      {"equal is no gain", {0.5, 0.5, 0.5}, true, 2, 0, 1, 3},
      {"loss falls", {3, 2, 1}, false, 1, 0, 3, 0},
      {"loss rises", {3, 2, 2.5, 2.25}, false, 2, 0, 2, 4},
      {"small gains keep the model, not the patience", {0.5, 0.51, 0.52, 0.9}, true, 2, 0.1, 3, 3},
      {"first is bad enough", {0.0, 0.0}, true, 1, 0, 1, 2},
      {"NaN first", {kNan, 0.5, 0.4}, true, 5, 0, 2, 0},
      {"NaN later", {0.5, kNan, 0.6, kNan, kNan}, true, 2, 0, 3, 5},
      {"loss of infinity", {kInfinity, 2, -kInfinity}, false, 5, 0, 2, 0},
  };
  for (const auto& c : cases)
    for (const bool restart : {false, true}) {
      const auto state = run(c, restart);
      EXPECT_EQ(state.best_step, c.best_step) << c.name;
      EXPECT_EQ(state.stopped_early, c.stops_at > 0) << c.name;
      EXPECT_EQ(state.step, c.stops_at > 0 ? c.stops_at : static_cast<int64_t>(c.values.size())) << c.name;
      if (state.best_step > 0) {
        EXPECT_EQ(state.best, c.values[static_cast<size_t>(state.best_step - 1)]) << c.name;
      }
    }
}

TEST(TrainState, WithoutPatienceNothingStops) {
  TrainState state;
  for (int i = 0; i < 100; ++i) {
    ++state.step;
    state.record(0.5, true, EvaluateSection{});
  }
  EXPECT_FALSE(state.stopped_early);
  EXPECT_EQ(state.evaluations_without_gain, 99);
}

TEST(TrainState, EveryFieldSurvivesText) {
  TrainState s;
  s.step = 7, s.samples = 1ll << 40, s.tokens = 3, s.skipped_in_row = 2, s.seconds = 0.1, s.best = 1.0 / 3, s.best_step = 5;
  s.evaluations_without_gain = 4, s.stopped_early = true;
  const auto r = TrainState::from_json(parse_json(s.to_json().dump(), {}));
  EXPECT_EQ(r.to_json(), s.to_json());
  EXPECT_EQ(r.best, s.best);
  EXPECT_EQ(r.samples, s.samples);
  const Json complete = s.to_json();
  Json incomplete = complete;
  for (const auto& [name, value] : complete.items()) {
    incomplete.erase(name);
    EXPECT_ANY_THROW(TrainState::from_json(incomplete)) << name;
    incomplete[name] = value;
  }
}

}  // namespace
}  // namespace fmtrain
