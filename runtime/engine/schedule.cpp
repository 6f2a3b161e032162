#include "runtime/engine/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fmtrain {
namespace {

double half_cosine(double progress) { return std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * progress))); }

double after_warmup(ScheduleName name, double step, double warmup, double total) {
  const double progress = (step - warmup) / std::max(1.0, total - warmup);
  switch (name) {
    case ScheduleName::kLinear: return std::max(0.0, 1 - progress);
    case ScheduleName::kCosine: return half_cosine(progress);
    case ScheduleName::kConstant: return 1;
    case ScheduleName::kInverseSqrt: {
      const double timescale = warmup > 0 ? warmup : 10'000;
      return 1 / std::sqrt((step + timescale - warmup) / timescale);
    }
    case ScheduleName::kWsd: {
      const double decay = std::ceil(0.1 * total);
      return step < total - decay ? 1 : half_cosine((step - (total - decay)) / std::max(1.0, decay));
    }
  }
  return 1;
}

}  // namespace

int64_t warmup_steps(const ScheduleSection& schedule, int64_t total) {
  if (schedule.warmup >= 1) return static_cast<int64_t>(schedule.warmup);
  return static_cast<int64_t>(std::ceil(schedule.warmup * static_cast<double>(total)));
}

double learning_rate(const ScheduleSection& schedule, double peak, int64_t step, int64_t total) {
  const auto s = static_cast<double>(step), warmup = static_cast<double>(warmup_steps(schedule, total));
  if (s < warmup) return peak * s / std::max(1.0, warmup);
  return peak * after_warmup(schedule.name, s, warmup, static_cast<double>(total));
}

}  // namespace fmtrain
