// What the kernels share. For kernels_level.cpp only: everything is inlined there.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

#include "models/ops/bf16.h"

#define FMTRAIN_INLINE inline __attribute__((always_inline))

namespace fmtrain {
namespace {

/// Independent sums, so that loops vectorise without reordering.
inline constexpr int64_t kLanes = 16;

/// Floats of a register: 16 with AVX-512, 8 with AVX2, 4 with SSE. Wider vectors are no good: GCC takes them through memory.
inline constexpr int64_t kVector = __BIGGEST_ALIGNMENT__ / 4;
using Vector = float __attribute__((vector_size(4 * kVector)));
using Integers = int32_t __attribute__((vector_size(4 * kVector)));
using Quad = float __attribute__((vector_size(16)));

/// e^x for x <= 0, of x below -87 as of that (1.6e-38): a choice at the end would keep loops from vectorising. Relative error about 2e-7
/// (polynomial of Cephes' expf). F is float or Vector, I the integers of its size.
template <class I, class F>
FMTRAIN_INLINE F exp_negative_of(F x) {
  const F least = F{} - 87.0f;
  const F clamped = x < least ? least : x;
  const F shifted = clamped * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the low bits are the rounded quotient
  const F n = shifted - 12582912.0f;
  const F r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  F y = F{} + 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  return y * __builtin_bit_cast(F, (__builtin_bit_cast(I, shifted) + 127) << 23);
}
FMTRAIN_INLINE float exp_negative(float x) { return exp_negative_of<int32_t>(x); }

template <class V>
FMTRAIN_INLINE V read(const float* x) {
  V v;
  __builtin_memcpy(&v, x, sizeof v);
  return v;
}
template <class V>
FMTRAIN_INLINE void write(float* to, V v) { __builtin_memcpy(to, &v, sizeof v); }

/// kLanes floats in registers.
struct Lanes { Vector part[kLanes / kVector]; };

/// use(0), use(1), ...: no loop, which GCC would keep in memory.
template <class Use, size_t... I>
FMTRAIN_INLINE Lanes each_part(const Use& use, std::index_sequence<I...>) { return {{use(I)...}}; }
template <class Use>
FMTRAIN_INLINE Lanes each_part(const Use& use) { return each_part(use, std::make_index_sequence<kLanes / kVector>()); }
/// Of memory, part by part: GCC copies the whole in words.
FMTRAIN_INLINE Lanes lanes_from(const float* x) {
  return each_part([&](size_t i) { return read<Vector>(x + i * kVector); });
}
FMTRAIN_INLINE void write(float* to, const Lanes& x) {
  for (size_t i = 0; i < kLanes / kVector; ++i) write(to + i * kVector, x.part[i]);
}
FMTRAIN_INLINE Lanes lanes(float x) {
  return each_part([&](size_t) { return Vector{} + x; });
}
FMTRAIN_INLINE Lanes operator+(const Lanes& a, const Lanes& b) {
  return each_part([&](size_t i) { return a.part[i] + b.part[i]; });
}
FMTRAIN_INLINE Lanes operator-(const Lanes& a, const Lanes& b) {
  return each_part([&](size_t i) { return a.part[i] - b.part[i]; });
}
FMTRAIN_INLINE Lanes operator*(const Lanes& a, const Lanes& b) {
  return each_part([&](size_t i) { return a.part[i] * b.part[i]; });
}
FMTRAIN_INLINE Lanes operator/(const Lanes& a, const Lanes& b) {
  return each_part([&](size_t i) { return a.part[i] / b.part[i]; });
}
FMTRAIN_INLINE Lanes larger(const Lanes& a, const Lanes& b) {
  return each_part([&](size_t i) { return b.part[i] > a.part[i] ? b.part[i] : a.part[i]; });
}
FMTRAIN_INLINE Lanes exp_negative(const Lanes& x) {
  return each_part([&](size_t i) { return exp_negative_of<Integers>(x.part[i]); });
}
/// The first `count` of x, then `other`.
FMTRAIN_INLINE Lanes first_of(const Lanes& x, int64_t count, float other) {
  constexpr int32_t kIndex[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return each_part([&](size_t i) {
    Integers index;
    __builtin_memcpy(&index, kIndex + i * kVector, sizeof index);
    return index < static_cast<int32_t>(count) ? x.part[i] : Vector{} + other;
  });
}

/// to [columns, rows] of row stride ldt = x [rows, columns] of row stride ldx, transposed; both multiples of 4.
FMTRAIN_INLINE void transpose(const float* __restrict x, int64_t ldx, int64_t rows, int64_t columns, float* __restrict to, int64_t ldt) {
  for (int64_t r = 0; r < rows; r += 4)
    for (int64_t c = 0; c < columns; c += 4) {
      const float* from = x + r * ldx + c;
      const Quad a = read<Quad>(from), b = read<Quad>(from + ldx), e = read<Quad>(from + 2 * ldx), f = read<Quad>(from + 3 * ldx);
      const Quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const Quad ef = __builtin_shufflevector(e, f, 0, 4, 1, 5), ef2 = __builtin_shufflevector(e, f, 2, 6, 3, 7);
      float* at = to + c * ldt + r;
      write(at, __builtin_shufflevector(ab, ef, 0, 1, 4, 5));
      write(at + ldt, __builtin_shufflevector(ab, ef, 2, 3, 6, 7));
      write(at + 2 * ldt, __builtin_shufflevector(ab2, ef2, 0, 1, 4, 5));
      write(at + 3 * ldt, __builtin_shufflevector(ab2, ef2, 2, 3, 6, 7));
    }
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

}  // namespace
}  // namespace fmtrain
