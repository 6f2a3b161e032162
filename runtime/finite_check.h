// Steps whose loss or gradient is not finite: all ranks skip them alike; too many in a row end the run.
#pragma once
#include <cstdint>
#include <string>

#include "runtime/data/plan.h"
#include "runtime/engine/engine.h"
#include "runtime/train_state.h"

namespace fmtrain {

/// Steps in a row after which a run has no hope.
inline constexpr int64_t kMostSkipped = 3;

/// Counts in `state`, of which step `step` is the next. Returns a warning about a skipped step, with the ids of its samples: those of
/// the leaves whose loss is not finite, or all, when only the gradient is not; "" when there is nothing to warn of. Throws
/// NumericError with the same at the kMostSkipped-th skipped step in a row. An overflow of the loss scale is no fault and does not
/// count, nor does it end the row.
std::string check_finite(const StepResult& result, const Step& step, TrainState& state);

}  // namespace fmtrain
