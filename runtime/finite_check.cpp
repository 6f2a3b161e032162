#include "runtime/finite_check.h"

#include <numeric>

#include "runtime/errors.h"

namespace fmtrain {
namespace {

/// Ids in a message; a step may have a million.
constexpr size_t kMostIds = 256;

std::string ids_text(const Step& step, std::vector<int64_t> leaves) {
  if (leaves.empty()) {
    leaves.resize(step.leaves.size());
    std::iota(leaves.begin(), leaves.end(), 0);
  }
  std::string text;
  size_t ids = 0;
  for (const auto leaf : leaves)
    for (const auto id : step.leaves.at(static_cast<size_t>(leaf)))
      if (++ids <= kMostIds) text += (text.empty() ? "" : ", ") + std::to_string(id);
  return ids <= kMostIds ? text : text + " and " + std::to_string(ids - kMostIds) + " more";
}

}  // namespace

std::string check_finite(const StepResult& result, const Step& step, TrainState& state) {
  if (result.applied) state.skipped_in_row = 0;
  if (result.applied || result.overflow) return "";
  const std::string what = result.bad_leaves.empty() ? "the gradient" : "the loss",
                    where = "step " + std::to_string(state.step + 1) + " (epoch " + std::to_string(step.epoch) + ")",
                    ids = "; samples " + ids_text(step, result.bad_leaves);
  if (++state.skipped_in_row >= kMostSkipped)
    throw NumericError("loss or gradient was not finite in " + std::to_string(kMostSkipped) + " steps in a row; lower optimizer.lr. The last, " +
                       what + ", at " + where + ids);
  return where + " was skipped: " + what + " is not finite" + ids;
}

}  // namespace fmtrain
