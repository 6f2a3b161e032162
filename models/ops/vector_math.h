// What the kernels share. For kernels_level.cpp only: everything is inlined there.
#pragma once
#include <cstdint>

#include "models/ops/bf16.h"

#define FMTRAIN_INLINE inline __attribute__((always_inline))

namespace fmtrain {

/// Independent sums, so that loops vectorise without reordering.
inline constexpr int64_t kLanes = 16;

/// e^x for x <= 0, of x below -87 as of that (1.6e-38): a choice at the end would keep loops from vectorising. Relative error about 2e-7
/// (polynomial of Cephes' expf).
FMTRAIN_INLINE float exp_negative(float x) {
  const float clamped = x < -87.0f ? -87.0f : x;
  const float shifted = clamped * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the low bits are the rounded quotient
  const float n = shifted - 12582912.0f;
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  return y * __builtin_bit_cast(float, (__builtin_bit_cast(int32_t, shifted) + 127) << 23);
}

FMTRAIN_INLINE float fold(const float* lanes) {
  float sum = 0;
  for (int64_t l = 0; l < kLanes; ++l) sum += lanes[l];
  return sum;
}

FMTRAIN_INLINE float sum_of(const float* x, int64_t n) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += x[i + l];
  for (; i < n; ++i) lanes[i % kLanes] += x[i];
  return fold(lanes);
}

FMTRAIN_INLINE float dot(const float* x, const float* y, int64_t n) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += x[i + l] * y[i + l];
  for (; i < n; ++i) lanes[i % kLanes] += x[i] * y[i];
  return fold(lanes);
}

}  // namespace fmtrain
