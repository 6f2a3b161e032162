// Kernels on one row of activations; contracts in kernels.h. For kernels_level.cpp only.
#pragma once
#include <cstdint>

#include "models/ops/kernels.h"
#include "models/ops/vector_math.h"

namespace fmtrain {
namespace {

template <class A>
void norm_row(const NormRow<A>& n, float* __restrict z) {
  const int64_t d = n.columns;
  const A *__restrict x = n.x, *__restrict residual = n.residual;
  const float *__restrict mask = n.mask, *__restrict weight = n.weight, *__restrict bias = n.bias;
  if (mask)
    for (int64_t i = 0; i < d; ++i) z[i] = load(x[i]) * mask[i] + load(residual[i]);
  else
    for (int64_t i = 0; i < d; ++i) z[i] = load(x[i]) + load(residual[i]);
  const float mean = sum_of(z, d) / static_cast<float>(d);
  for (int64_t i = 0; i < d; ++i) z[i] -= mean;
  const float inverse = 1.0f / __builtin_sqrtf(dot(z, z, d) / static_cast<float>(d) + n.eps);
  A* __restrict y = n.y;
  for (int64_t i = 0; i < d; ++i) store(y[i], z[i] * inverse * weight[i] + bias[i]);
  if (!n.normalised) return;
  *n.inverse = inverse;
  A* __restrict normalised = n.normalised;
  for (int64_t i = 0; i < d; ++i) store(normalised[i], z[i] * inverse);
}

template <class A>
void norm_row_backward(const NormRowBackward<A>& n, float* __restrict scratch) {
  const int64_t d = n.columns;
  float *__restrict grad = scratch, *__restrict normalised = scratch + d;
  float *__restrict of_weight = n.sums, *__restrict of_bias = n.sums + d, *__restrict of_x = n.sums + 2 * d;
  const A *__restrict grad_y = n.grad_y, *__restrict too = n.grad_y_too, *__restrict kept = n.normalised;
  const float *__restrict weight = n.weight, *__restrict mask = n.mask;
  if (too)
    for (int64_t i = 0; i < d; ++i) grad[i] = load(grad_y[i]) + load(too[i]);
  else
    for (int64_t i = 0; i < d; ++i) grad[i] = load(grad_y[i]);
  for (int64_t i = 0; i < d; ++i) {
    normalised[i] = load(kept[i]);
    of_weight[i] += grad[i] * normalised[i];
    of_bias[i] += grad[i];
    grad[i] *= weight[i];
  }
  const float mean = sum_of(grad, d) / static_cast<float>(d), slope = dot(grad, normalised, d) / static_cast<float>(d);
  for (int64_t i = 0; i < d; ++i) grad[i] = n.inverse * (grad[i] - mean - normalised[i] * slope);
  A* __restrict grad_residual = n.grad_residual;
  for (int64_t i = 0; i < d; ++i) store(grad_residual[i], grad[i]);
  if (mask)
    for (int64_t i = 0; i < d; ++i) grad[i] *= mask[i];
  for (int64_t i = 0; i < d; ++i) of_x[i] += grad[i];
  A* __restrict grad_x = n.grad_x;
  if (grad_x != n.grad_residual)
    for (int64_t i = 0; i < d; ++i) store(grad_x[i], grad[i]);
}

/// Phi(x), the normal distribution; *e becomes e^(-x^2 / 2). Abramowitz & Stegun 7.1.26, absolute error 0.75e-7.
FMTRAIN_INLINE float normal_cdf(float x, float* e) {
  const float a = __builtin_fabsf(x) * 0.70710678f, t = 1.0f / (1.0f + 0.3275911f * a);
  *e = exp_negative(-a * a);
  const float half = t * (0.127414796f + t * (-0.142248368f + t * (0.7107068705f + t * (-0.7265760135f + t * 0.5307027145f))));
  return 0.5f + __builtin_copysignf(0.5f - *e * half, x);
}

template <class A>
void gelu_row(const A* x, A* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    float e;
    const float v = load(x[i]);
    store(out[i], v * normal_cdf(v, &e));
  }
}

template <class A>
void gelu_row_backward(A* __restrict x, A* __restrict grad, int64_t n, float* __restrict sums) {
  for (int64_t i = 0; i < n; ++i) {
    float e;
    const float v = load(x[i]), cdf = normal_cdf(v, &e), g = load(grad[i]) * (cdf + v * 0.39894228f * e);
    store(x[i], v * cdf);
    store(grad[i], g);
    sums[i] += g;
  }
}

template <class A>
void add_to_sums(const A* __restrict x, int64_t n, float* __restrict sums) {
  for (int64_t i = 0; i < n; ++i) sums[i] += load(x[i]);
}

template <class A>
void put_in_sums(const A* __restrict x, int64_t n, float* __restrict sums) {
  for (int64_t i = 0; i < n; ++i) sums[i] = load(x[i]);
}

template <class A>
void put_sum(const A* __restrict x, const A* __restrict y, int64_t n, float* __restrict sums) {
  for (int64_t i = 0; i < n; ++i) sums[i] = load(x[i]) + load(y[i]);
}

template <class A>
void add_rows(A* __restrict to, const A* __restrict from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) store(to[i], load(to[i]) + load(from[i]));
}

}  // namespace
}  // namespace fmtrain
