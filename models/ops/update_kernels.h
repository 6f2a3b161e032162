// Passes over flat memory; contracts in optimizer_update.h and kernels.h. For kernels_level.cpp only. Products are not fused with sums:
// these passes wait for memory anyway, follow torch's roundings so, and give the same bits at every level.
#pragma once
#include <cstdint>

#include "models/ops/kernels.h"
#include "models/ops/optimizer_update.h"
#include "models/ops/vector_math.h"

#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")

namespace fmtrain {
namespace {

/// The moments after a gradient, and m / (sqrt(v) / sqrt(1 - beta2^t) + eps).
FMTRAIN_INLINE float adam_quotient(const AdamWUpdate& u, float grad, float& exp_avg, float& exp_avg_sq) {
  const float g = u.scale * grad;
  exp_avg += u.one_minus_beta1 * (g - exp_avg);
  exp_avg_sq = u.beta2 * exp_avg_sq + u.one_minus_beta2 * g * g;
  return exp_avg / (__builtin_sqrtf(exp_avg_sq) * u.inverse_root + u.eps);
}

[[maybe_unused]] void adamw(const AdamWUpdate& update, float* __restrict param, const float* __restrict grad,
                            float* __restrict exp_avg, float* __restrict exp_avg_sq, int64_t numel) {
  const AdamWUpdate u = update;
  for (int64_t i = 0; i < numel; ++i)
    param[i] = u.decay * param[i] - u.step_size * adam_quotient(u, grad[i], exp_avg[i], exp_avg_sq[i]);
}

[[maybe_unused]] void adamw_low(const AdamWUpdate& update, float* __restrict param, const float* __restrict grad,
                                float* __restrict exp_avg, float* __restrict exp_avg_sq, Bf16* __restrict low, int64_t numel) {
  const AdamWUpdate u = update;
  for (int64_t i = 0; i < numel; ++i) {
    const float p = u.decay * param[i] - u.step_size * adam_quotient(u, grad[i], exp_avg[i], exp_avg_sq[i]);
    param[i] = p;
    store(low[i], p);
  }
}

[[maybe_unused]] void decay(float factor, float* __restrict param, int64_t numel) {
  for (int64_t i = 0; i < numel; ++i) param[i] *= factor;
}

[[maybe_unused]] void round_low(const float* __restrict param, Bf16* __restrict low, int64_t numel) {
  for (int64_t i = 0; i < numel; ++i) store(low[i], param[i]);
}

[[maybe_unused]] void sgd(const SgdUpdate& update, float* __restrict param, const float* __restrict grad, float* __restrict buffer,
                          int64_t numel) {
  const SgdUpdate u = update;
  for (int64_t i = 0; i < numel; ++i) {
    const float g = u.scale * grad[i] + u.weight_decay * param[i];
    buffer[i] = u.momentum * buffer[i] + g;
    param[i] -= u.lr * buffer[i];
  }
}

[[maybe_unused]] void lamb(const LambUpdate& update, const float* __restrict param, float* __restrict grad,
                           float* __restrict exp_avg, float* __restrict exp_avg_sq, int64_t numel) {
  const AdamWUpdate u = update.adam;
  const float weight_decay = update.weight_decay;
  for (int64_t i = 0; i < numel; ++i)
    grad[i] = u.step_size * adam_quotient(u, grad[i], exp_avg[i], exp_avg_sq[i]) + weight_decay * param[i];
}

[[maybe_unused]] void direction(float step_size, float* __restrict param, const float* __restrict towards, int64_t numel) {
  for (int64_t i = 0; i < numel; ++i) param[i] -= step_size * towards[i];
}

[[maybe_unused]] void pull(float strength, float* __restrict param, const float* __restrict start, int64_t numel) {
  for (int64_t i = 0; i < numel; ++i) param[i] -= strength * (param[i] - start[i]);
}

[[maybe_unused]] void add_squares(const float* __restrict values, int64_t numel, double* __restrict to) {
  constexpr int64_t kSums = SumOfSquares::kLanes;
  double sums[kSums];
  for (int64_t k = 0; k < kSums; ++k) sums[k] = to[k];
  int64_t i = 0;
  for (; i + kSums <= numel; i += kSums)
    for (int64_t k = 0; k < kSums; ++k) {
      const double x = values[i + k];
      sums[k] += x * x;
    }
  for (; i < numel; ++i) sums[i % kSums] += static_cast<double>(values[i]) * values[i];
  for (int64_t k = 0; k < kSums; ++k) to[k] = sums[k];
}

[[maybe_unused]] void widen(const int32_t* __restrict from, int64_t n, int64_t* __restrict to) {
  for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}
[[maybe_unused]] void count_up(int64_t n, int64_t* __restrict to) {
  for (int64_t i = 0; i < n; ++i) to[i] = i;
}

}  // namespace
}  // namespace fmtrain

#pragma GCC pop_options
