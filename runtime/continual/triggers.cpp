#include "runtime/continual/triggers.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace fmtrain {
namespace {

constexpr double kTriggerDrop = 0.02, kOneSided95 = 1.6448536269514722;
constexpr int64_t kLeastNew = 1000, kBrakeWeek = 7 * 24 * 60 * 60;

double hours(int64_t seconds) { return static_cast<double>(seconds) / 3600; }

std::string line(const char* format, double value, double limit) {
  char text[160];
  std::snprintf(text, sizeof text, format, value, limit);
  return text;
}

int64_t rejected_in_a_row(const std::vector<PastCycle>& history) {
  int64_t count = 0;
  for (auto cycle = history.rbegin(); cycle != history.rend() && cycle->outcome == CycleOutcome::kRejected; ++cycle) ++count;
  return count;
}

/// Brakes that a person passes.
std::string automatic_brakes(const std::vector<PastCycle>& history, const Brakes& brakes, int64_t now) {
  if (history.empty()) return "";
  if (const int64_t rejected = rejected_in_a_row(history);
      brakes.stop_after_rejected > 0 && rejected >= brakes.stop_after_rejected)
    return std::to_string(rejected) +
           " challengers in a row were rejected; look at the gate's reasons, then start a cycle by hand";
  const double ago = hours(now - history.back().started);
  if (ago < brakes.min_hours)
    return line("the last cycle began %.1f h ago; at least %.1f h lie between cycles", ago, brakes.min_hours);
  if (history.back().outcome == CycleOutcome::kRejected && ago < brakes.cooldown_hours)
    return line("a challenger was rejected in the cycle of %.1f h ago; the next one waits %.1f h", ago, brakes.cooldown_hours);
  return "";
}

}  // namespace

const char* trigger_name(TriggerKind kind) {
  switch (kind) {
    case TriggerKind::kSchedule:
      return "schedule";
    case TriggerKind::kNewData:
      return "new data";
    case TriggerKind::kDrift:
      return "drift";
    case TriggerKind::kAccuracyDrop:
      return "accuracy drop";
    case TriggerKind::kEstimatedDrop:
      return "estimated drop";
    case TriggerKind::kManual:
      return "manual";
  }
  return "";
}

double drop_lcb95(const Estimate& before, const Estimate& now) {
  return before.value - now.value - kOneSided95 * std::hypot(before.standard_error, now.standard_error);
}

std::optional<TriggerKind> triggered(const TriggerInputs& in, const CycleSchedule& schedule, int64_t now) {
  // By how sure each is that a cycle is needed; the order shows in the record only, for one trigger is enough.
  if (in.manual) return TriggerKind::kManual;
  if (in.drift_alarm) return TriggerKind::kDrift;
  if (in.accuracy_drop_lcb > kTriggerDrop) return TriggerKind::kAccuracyDrop;
  if (in.estimated_drop) return TriggerKind::kEstimatedDrop;
  if (in.new_labelled >= std::max(kLeastNew, (in.train_examples + 9) / 10)) return TriggerKind::kNewData;
  if (schedule.due(in.last_cycle, now)) return TriggerKind::kSchedule;
  return std::nullopt;
}

std::string braked(const std::vector<PastCycle>& history, const Brakes& brakes, TriggerKind trigger, int64_t now) {
  int64_t recent = 0;
  double gpu_hours = 0;
  for (const auto& cycle : history)
    if (now - cycle.started < kBrakeWeek) {
      ++recent;
      gpu_hours += cycle.gpu_hours;
    }
  if (recent >= brakes.max_per_week)
    return line("%.0f cycles began in the last 7 days; at most %.0f may", static_cast<double>(recent),
                static_cast<double>(brakes.max_per_week));
  if (brakes.gpu_hours_per_week > 0 && gpu_hours >= brakes.gpu_hours_per_week)
    return line("%.1f GPU hours of %.1f a week are used", gpu_hours, brakes.gpu_hours_per_week);
  return trigger == TriggerKind::kManual ? "" : automatic_brakes(history, brakes, now);
}

}  // namespace fmtrain
