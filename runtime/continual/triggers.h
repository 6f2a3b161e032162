// When a cycle starts: any trigger asks for one, and brakes keep a storm of them apart. Functions of a clock's value, in
// seconds since 1970.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/continual/performance_estimate.h"
#include "runtime/continual/schedule.h"

namespace fmtrain {

enum class TriggerKind { kSchedule, kNewData, kDrift, kAccuracyDrop, kEstimatedDrop, kManual };
const char* trigger_name(TriggerKind kind);  ///< schedule, new data, drift, accuracy drop, estimated drop, manual

struct TriggerInputs {
  bool manual = false;
  bool drift_alarm = false;      ///< two windows in a row
  bool estimated_drop = false;   ///< DriftReport::dropped
  double accuracy_drop_lcb = 0;  ///< lower 95 % bound of champion's accuracy at its freeze minus that on the newest labels
  int64_t new_labelled = 0, train_examples = 0;  ///< since the last cycle; of the champion's training set
  int64_t last_cycle = 0;                        ///< start of the last cycle
};

/// Lower 95 % bound (one-sided, normal) of `before` - `now`, two shares of different examples.
double drop_lcb95(const Estimate& before, const Estimate& now);

/// The first that holds, a person's wish first: manual; drift; measured drop (lower bound above 0.02); estimated drop; new
/// labelled examples >= max(1,000, 10 % of the training set); schedule.
std::optional<TriggerKind> triggered(const TriggerInputs& inputs, const CycleSchedule& schedule, int64_t now);

struct Brakes {
  double min_hours = 24;            ///< between starts
  int64_t max_per_week = 7;         ///< starts within 7 days
  double cooldown_hours = 48;       ///< after the start of a rejected challenger's cycle
  int64_t stop_after_rejected = 3;  ///< in a row: alert, and only a person starts the next
  double gpu_hours_per_week = 0;    ///< 0: no limit
};

enum class CycleOutcome { kPromoted, kRejected, kInconclusive, kUnfinished };
struct PastCycle {
  int64_t started = 0;
  CycleOutcome outcome = CycleOutcome::kUnfinished;
  double gpu_hours = 0;
};

/// Why no cycle may start now, in a line; "" when one may. `history`: oldest first. A manual trigger passes min_hours, the
/// cool-down and the stop, for a person decided; the weekly limits hold for everybody.
std::string braked(const std::vector<PastCycle>& history, const Brakes& brakes, TriggerKind trigger, int64_t now);

}  // namespace fmtrain
