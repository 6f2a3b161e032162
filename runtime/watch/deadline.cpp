#include "runtime/watch/deadline.h"

#include <algorithm>
#include <vector>

namespace fmtrain {
namespace {

constexpr size_t kSteps = 50;
constexpr double kFactor = 10;

bool has_steps(const std::string& phase) { return phase == "train" || phase == "evaluate"; }

}  // namespace

void Deadline::remember(double seconds) {
  auto& steps = steps_[phase_];
  steps.push_back(seconds);
  if (steps.size() > kSteps) steps.pop_front();
}

double Deadline::limit() const {
  const auto steps = steps_.find(phase_);
  if (steps == steps_.end()) return limits_.phase;
  std::vector<double> sorted(steps->second.begin(), steps->second.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return std::max(limits_.step, kFactor * *middle);
}

bool Deadline::expired(double now, const std::string& phase, uint64_t progress) {
  const bool first = looked_ < 0, suspended = !first && now - looked_ > 3 * period_ + 1;
  looked_ = now;
  const bool moved = phase != phase_ || progress != progress_;
  if (moved && !first && !suspended && has_steps(phase) && phase == phase_ && progress > progress_)
    remember((now - since_) / static_cast<double>(progress - progress_));
  phase_ = phase;
  progress_ = progress;
  if (first || suspended || moved) since_ = now;
  return now - since_ > limit();
}

}  // namespace fmtrain
