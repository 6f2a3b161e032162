// Attention of one sample and head, in fp32 on data in cache; contracts in kernels.h and attention.h. For kernels_level.cpp only.
#pragma once
#include <cstdint>

#include "models/ops/kernels.h"
#include "models/ops/mask_kernels.h"
#include "models/ops/small_gemm.h"
#include "models/ops/vector_math.h"

namespace fmtrain {
namespace {

/// Scratch of a head. Columns are padded to whole vectors, and the padding is zero (of mask: zero or the scale); of rows beyond s only
/// those up to a multiple of 4 are zero, of q, k, v and grad_out, and no others are read.
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

/// [s, dh] of row stride `stride` into [s, columns], then rows of zeros up to a multiple of 4.
template <class A>
FMTRAIN_INLINE void fetch(const A* __restrict from, int64_t stride, int64_t s, int64_t dh, int64_t columns, float* __restrict to) {
  const int64_t whole = dh / kLanes * kLanes;
  for (int64_t i = 0; i < s; ++i, from += stride, to += columns) {
    for (int64_t c = 0; c < whole; c += kLanes)
      for (int64_t l = 0; l < kLanes; ++l) to[c + l] = load(from[c + l]);
    for (int64_t c = whole; c < columns; ++c) to[c] = c < dh ? load(from[c]) : 0;
  }
  for (int64_t c = 0; c < (4 - s % 4) % 4 * columns; ++c) to[c] = 0;
}

template <class A>
FMTRAIN_INLINE void put(const float* __restrict from, int64_t columns, int64_t s, int64_t dh, A* __restrict to, int64_t stride) {
  for (int64_t i = 0; i < s; ++i, from += columns, to += stride)
    for (int64_t c = 0; c < dh; ++c) store(to[c], from[c]);
}

/// What fetch() left, x [s, columns] -> t.transposed [columns, width], zero from column s on.
FMTRAIN_INLINE void transpose_rows(const float* x, int64_t s, const HeadScratch& t) {
  const int64_t rows = (s + 3) / 4 * 4;
  transpose(x, t.columns, rows, t.columns, t.transposed, t.width);
  for (int64_t c = 0; c < t.columns; ++c)
    for (int64_t r = rows; r < t.width; r += 4) write(t.transposed + c * t.width + r, Quad{});
}

[[maybe_unused]] void product(int64_t m, int64_t n, int64_t k, small::Strided a, const float* b, int64_t ldb, float* c, int64_t ldc) {
  small::multiply(m, n, k, a, b, ldb, c, ldc);
}

/// What is one number a row is folded for kLanes rows side by side, each row's lanes in their order.
struct RowLanes {
  alignas(64) float row[kLanes][kLanes];
  explicit RowLanes(int64_t rows) {
    for (; rows < kLanes; ++rows) write(row[rows], lanes(0));
  }
  template <class Fold>
  FMTRAIN_INLINE Lanes folded(Lanes result, const Fold& fold) const {
    alignas(64) float by_lane[kLanes][kLanes];
    transpose(row[0], kLanes, kLanes, kLanes, by_lane[0], kLanes);
    for (const auto& lane : by_lane) result = fold(result, lanes_from(lane));
    return result;
  }
  FMTRAIN_INLINE Lanes largest() const {
    return folded(lanes(-__builtin_inff()), [](const Lanes& a, const Lanes& b) { return larger(a, b); });
  }
  FMTRAIN_INLINE Lanes sums() const {
    return folded(lanes(0), [](const Lanes& a, const Lanes& b) { return a + b; });
  }
};

/// Lanes of the largest of the first s of x, which is readable to whole vectors.
FMTRAIN_INLINE Lanes largest(const float* x, int64_t s, int64_t width) {
  const int64_t last = width - kLanes;
  Lanes top = first_of(lanes_from(x + last), s - last, -__builtin_inff());
  for (int64_t j = 0; j < last; j += kLanes) top = larger(top, lanes_from(x + j));
  return top;
}

/// x = e^((x - top) * scale) * inverse, and 0 from s on; use(j, those from j on) meanwhile.
template <class Use>
FMTRAIN_INLINE void exponentials(float* x, int64_t s, int64_t width, float scale, float top, float inverse, const Use& use) {
  const int64_t last = width - kLanes;
  for (int64_t j = 0; j <= last; j += kLanes) {
    Lanes e = exp_negative((lanes_from(x + j) - lanes(top)) * lanes(scale)) * lanes(inverse);
    if (j == last) e = first_of(e, s - j, 0);
    write(x + j, e);
    use(j, e);
  }
}

FMTRAIN_INLINE void multiply_by(float* __restrict x, const float* __restrict y, int64_t width) {
  for (int64_t j = 0; j < width; j += kLanes) write(x + j, lanes_from(x + j) * lanes_from(y + j));
}

/// Q K^T in t.scores; the mask of this head, or nullptr.
template <class A>
FMTRAIN_INLINE const float* scores(const HeadRows<A>& h, const HeadScratch& t) {
  fetch(h.q, h.stride, h.s, h.dh, t.columns, t.q);
  fetch(h.k, h.stride, h.s, h.dh, t.columns, t.k);
  fetch(h.v, h.stride, h.s, h.dh, t.columns, t.v);
  transpose_rows(t.k, h.s, t);
  product(h.s, t.width, t.columns, {t.q, t.columns, 1}, t.transposed, t.width, t.scores, t.width);
  if (h.mask.threshold == 0) return nullptr;
  mask_square(h.mask, h.s, t.width, t.mask);
  return t.mask;
}

/// Of `rows` rows of t.scores from `first` on, at most kLanes: softmax, times the mask.
template <class A>
FMTRAIN_INLINE void softmax(const HeadRows<A>& h, const HeadScratch& t, const float* mask, int64_t first, int64_t rows) {
  float* const x = t.scores + first * t.width;
  float top[kLanes], inverse[kLanes];
  RowLanes of(rows);
  for (int64_t i = 0; i < rows; ++i) write(of.row[i], largest(x + i * t.width, h.s, t.width));
  write(top, of.largest());
  for (int64_t i = 0; i < rows; ++i) {
    Lanes sums = lanes(0);
    exponentials(x + i * t.width, h.s, t.width, h.scale, top[i], 1.0f, [&](int64_t, const Lanes& e) { sums = sums + e; });
    write(of.row[i], sums);
  }
  write(inverse, lanes(1) / of.sums());
  for (int64_t i = 0; i < rows; ++i) {
    float* p = x + i * t.width;
    for (int64_t j = 0; j < t.width; j += kLanes) write(p + j, lanes_from(p + j) * lanes(inverse[i]));
    if (mask) multiply_by(p, mask + (first + i) * t.width, t.width);
    if (h.kept) h.kept[(first + i) * h.kept_stride] = top[i], h.kept[(first + i) * h.kept_stride + 1] = inverse[i];
  }
}

template <class A>
void attention_head(const HeadRows<A>& h, A* out, int64_t out_stride) {
  const HeadScratch t = scratch_of(h);
  const float* mask = scores(h, t);
  for (int64_t i = 0; i < h.s; i += kLanes) softmax(h, t, mask, i, h.s - i < kLanes ? h.s - i : kLanes);
  product(h.s, t.columns, h.s, {t.scores, t.width, 1}, t.v, t.columns, t.out, t.columns);
  put(t.out, t.columns, h.s, h.dh, out, out_stride);
}

/// Of `rows` rows from `first` on, at most kLanes: t.scores becomes what multiplied the values, t.grads, its gradient, the gradient of
/// the scores: probabilities * (grads * mask - sum(grads * mask * probabilities)) * scale.
template <class A>
FMTRAIN_INLINE void softmax_backward(const HeadRows<A>& h, const HeadScratch& t, const float* mask, int64_t first, int64_t rows) {
  float *const x = t.scores + first * t.width, *const grads = t.grads + first * t.width;
  float sums[kLanes];
  RowLanes of(rows);
  for (int64_t i = 0; i < rows; ++i) {
    const float* kept = h.kept + (first + i) * h.kept_stride;
    float* g = grads + i * t.width;
    if (mask) multiply_by(g, mask + (first + i) * t.width, t.width);
    Lanes dots = lanes(0);
    exponentials(x + i * t.width, h.s, t.width, h.scale, kept[0], kept[1], [&](int64_t j, const Lanes& p) { dots = dots + lanes_from(g + j) * p; });
    write(of.row[i], dots);
  }
  write(sums, of.sums());
  for (int64_t i = 0; i < rows; ++i) {
    float *p = x + i * t.width, *g = grads + i * t.width;
    for (int64_t j = 0; j < t.width; j += kLanes) write(g + j, lanes_from(p + j) * (lanes_from(g + j) - lanes(sums[i])) * lanes(h.scale));
    if (mask) multiply_by(p, mask + (first + i) * t.width, t.width);
  }
}

template <class A>
void attention_head_backward(const HeadRows<A>& h, const A* grad_out, int64_t out_stride, A* grad_q, A* grad_k, A* grad_v) {
  const HeadScratch t = scratch_of(h);
  const float* mask = scores(h, t);
  fetch(grad_out, out_stride, h.s, h.dh, t.columns, t.grad_out);
  transpose_rows(t.v, h.s, t);
  product(h.s, t.width, t.columns, {t.grad_out, t.columns, 1}, t.transposed, t.width, t.grads, t.width);  // dO V^T
  for (int64_t i = 0; i < h.s; i += kLanes) softmax_backward(h, t, mask, i, h.s - i < kLanes ? h.s - i : kLanes);
  product(h.s, t.columns, h.s, {t.grads, t.width, 1}, t.k, t.columns, t.out, t.columns);  // dS K
  put(t.out, t.columns, h.s, h.dh, grad_q, h.stride);
  product(h.s, t.columns, h.s, {t.grads, 1, t.width}, t.q, t.columns, t.out, t.columns);  // dS^T Q
  put(t.out, t.columns, h.s, h.dh, grad_k, h.stride);
  product(h.s, t.columns, h.s, {t.scores, 1, t.width}, t.grad_out, t.columns, t.out, t.columns);  // (P mask)^T dO
  put(t.out, t.columns, h.s, h.dh, grad_v, h.stride);
}

}  // namespace
}  // namespace fmtrain
