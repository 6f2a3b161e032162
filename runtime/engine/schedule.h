// Learning rate as a pure function of the update number.
#pragma once
#include <cstdint>

#include "runtime/config/config.h"

namespace fmtrain {

/// Updates of warm-up: the share of `total` rounded up, or the given number.
int64_t warmup_steps(const ScheduleSection& schedule, int64_t total);

/// Learning rate of update `step` (0-based) of `total`, with the values of transformers' get_*_schedule functions
/// (optimization.py): linear, cosine (half a period), constant, inverse square root, warm-up-stable-decay (the last tenth of
/// all updates decays by half a cosine to 0).
double learning_rate(const ScheduleSection& schedule, double peak, int64_t step, int64_t total);

}  // namespace fmtrain
