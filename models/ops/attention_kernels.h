// Attention of one sample and head, in fp32 on data in cache; contracts in kernels.h and attention.h. For kernels_level.cpp only.
#pragma once
#include <cstdint>

#include "models/ops/kernels.h"
#include "models/ops/mask_kernels.h"
#include "models/ops/small_gemm.h"
#include "models/ops/vector_math.h"

namespace fmtrain {
namespace {

/// Scratch of a head. Rows and columns are padded to whole vectors, and the padding is zero (of mask: zero or the scale).
struct HeadScratch {
  int64_t width, columns;                           ///< padded s and dh
  float *q, *k, *v, *grad_out, *out, *transposed;   ///< [width, columns], but [columns, width]
  float *scores, *grads, *mask;                     ///< [width, width]
};

template <class A>
FMTRAIN_INLINE HeadScratch scratch_of(const HeadRows<A>& h) {
  const int64_t width = padded(h.s), columns = padded(h.dh), rows = width * columns, square = width * width;
  float* p = h.scratch;
  return {width, columns, p, p + rows, p + 2 * rows, p + 3 * rows, p + 4 * rows, p + 5 * rows, p + 6 * rows, p + 6 * rows + square, p + 6 * rows + 2 * square};
}

/// [s, dh] of row stride `stride` into [s, columns].
template <class A>
FMTRAIN_INLINE void fetch(const A* __restrict from, int64_t stride, int64_t s, int64_t dh, int64_t columns, float* __restrict to) {
  for (int64_t i = 0; i < s; ++i, from += stride, to += columns) {
    for (int64_t c = 0; c < dh; ++c) to[c] = load(from[c]);
    for (int64_t c = dh; c < columns; ++c) to[c] = 0;
  }
}

template <class A>
FMTRAIN_INLINE void put(const float* __restrict from, int64_t columns, int64_t s, int64_t dh, A* __restrict to, int64_t stride) {
  for (int64_t i = 0; i < s; ++i, from += columns, to += stride)
    for (int64_t c = 0; c < dh; ++c) store(to[c], from[c]);
}

/// x [s, columns] -> [columns, width], zero from column s on.
FMTRAIN_INLINE void transpose(const float* __restrict x, int64_t s, const HeadScratch& t) {
  for (int64_t c = 0; c < t.columns; ++c) {
    float* __restrict to = t.transposed + c * t.width;
    for (int64_t r = 0; r < s; ++r) to[r] = x[r * t.columns + c];
    for (int64_t r = s; r < t.width; ++r) to[r] = 0;
  }
}

[[maybe_unused]] void product(int64_t m, int64_t n, int64_t k, small::Strided a, const float* b, int64_t ldb, float* c, int64_t ldc) {
  small::multiply(m, n, k, a, b, ldb, c, ldc);
}

/// x[l] where column j + l is one of the first s, else `other`. A choice, not a store of single elements that a load of the whole vector
/// would have to wait for.
FMTRAIN_INLINE void choose(const float* x, int64_t j, int64_t s, float other, float* __restrict to) {
  const auto left = static_cast<int32_t>(s - j);
  for (int32_t l = 0; l < kLanes; ++l) to[l] = l < left ? x[l] : other;
}

/// Of the first s of x, which is readable to whole vectors.
FMTRAIN_INLINE float largest(const float* x, int64_t s, int64_t width) {
  float top[kLanes];
  choose(x + width - kLanes, width - kLanes, s, -__builtin_inff(), top);
  for (int64_t j = 0; j < width - kLanes; j += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) top[l] = x[j + l] > top[l] ? x[j + l] : top[l];
  float result = top[0];
  for (int64_t l = 1; l < kLanes; ++l) result = top[l] > result ? top[l] : result;
  return result;
}

/// x = e^((x - top) * scale) * inverse, and 0 from s on.
FMTRAIN_INLINE void exponentials(float* x, int64_t s, int64_t width, float scale, float top, float inverse) {
  for (int64_t j = 0; j < width; ++j) x[j] = exp_negative((x[j] - top) * scale) * inverse;
  float last[kLanes];
  choose(x + width - kLanes, width - kLanes, s, 0, last);
  __builtin_memcpy(x + width - kLanes, last, sizeof last);
}

FMTRAIN_INLINE void multiply_by(float* __restrict x, const float* __restrict y, int64_t n) {
  for (int64_t j = 0; j < n; ++j) x[j] *= y[j];
}

/// Q K^T in t.scores; the mask of this head, or nullptr.
template <class A>
FMTRAIN_INLINE const float* scores(const HeadRows<A>& h, const HeadScratch& t) {
  fetch(h.q, h.stride, h.s, h.dh, t.columns, t.q);
  fetch(h.k, h.stride, h.s, h.dh, t.columns, t.k);
  fetch(h.v, h.stride, h.s, h.dh, t.columns, t.v);
  transpose(t.k, h.s, t);
  product(h.s, t.width, t.columns, {t.q, t.columns, 1}, t.transposed, t.width, t.scores, t.width);
  if (h.mask.threshold == 0) return nullptr;
  mask_square(h.mask, h.s, t.width, t.mask);
  return t.mask;
}

template <class A>
void attention_head(const HeadRows<A>& h, A* out, int64_t out_stride) {
  const HeadScratch t = scratch_of(h);
  const float* mask = scores(h, t);
  for (int64_t i = 0; i < h.s; ++i) {
    float* x = t.scores + i * t.width;
    const float top = largest(x, h.s, t.width);
    exponentials(x, h.s, t.width, h.scale, top, 1.0f);
    const float inverse = 1.0f / sum_of(x, t.width);
    for (int64_t j = 0; j < t.width; ++j) x[j] *= inverse;
    if (mask) multiply_by(x, mask + i * t.width, t.width);
    if (h.kept) h.kept[i * h.kept_stride] = top, h.kept[i * h.kept_stride + 1] = inverse;
  }
  product(h.s, t.columns, h.s, {t.scores, t.width, 1}, t.v, t.columns, t.out, t.columns);
  put(t.out, t.columns, h.s, h.dh, out, out_stride);
}

/// Row i of t.scores becomes what multiplied the values, of t.grads, its gradient, the gradient of the scores:
/// probabilities * (grads * mask - sum(grads * mask * probabilities)) * scale.
template <class A>
FMTRAIN_INLINE void softmax_backward(const HeadRows<A>& h, const HeadScratch& t, const float* mask, int64_t i) {
  float *x = t.scores + i * t.width, *grads = t.grads + i * t.width;
  exponentials(x, h.s, t.width, h.scale, h.kept[i * h.kept_stride], h.kept[i * h.kept_stride + 1]);
  if (mask) multiply_by(grads, mask + i * t.width, t.width);
  const float sum = dot(grads, x, t.width);
  for (int64_t j = 0; j < t.width; ++j) grads[j] = x[j] * (grads[j] - sum) * h.scale;
  if (mask) multiply_by(x, mask + i * t.width, t.width);
}

template <class A>
void attention_head_backward(const HeadRows<A>& h, const A* grad_out, int64_t out_stride, A* grad_q, A* grad_k, A* grad_v) {
  const HeadScratch t = scratch_of(h);
  const float* mask = scores(h, t);
  fetch(grad_out, out_stride, h.s, h.dh, t.columns, t.grad_out);
  transpose(t.v, h.s, t);
  product(h.s, t.width, t.columns, {t.grad_out, t.columns, 1}, t.transposed, t.width, t.grads, t.width);  // dO V^T
  for (int64_t i = 0; i < h.s; ++i) softmax_backward(h, t, mask, i);
  product(h.s, t.columns, h.s, {t.grads, t.width, 1}, t.k, t.columns, t.out, t.columns);  // dS K
  put(t.out, t.columns, h.s, h.dh, grad_q, h.stride);
  product(h.s, t.columns, h.s, {t.grads, 1, t.width}, t.q, t.columns, t.out, t.columns);  // dS^T Q
  put(t.out, t.columns, h.s, h.dh, grad_k, h.stride);
  product(h.s, t.columns, h.s, {t.scores, 1, t.width}, t.grad_out, t.columns, t.out, t.columns);  // (P mask)^T dO
  put(t.out, t.columns, h.s, h.dh, grad_v, h.stride);
}

}  // namespace
}  // namespace fmtrain
