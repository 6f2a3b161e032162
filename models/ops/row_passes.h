// The elementwise work between the products of a transformer layer, each as one pass over rows on the CPU: no temporary tensors, every
// element read and written once. Activations are float or Bf16 (bf16.h); sums, statistics and parameters are fp32. Rows are cut into
// fixed blocks, so no bit depends on the number of threads. Kernels, not differentiable: encoder_layer.cpp puts them together.
#pragma once
#include <cstdint>

#include "models/ops/bf16.h"
#include "models/ops/dropout.h"

namespace fmtrain {

/// What the rows of a batch are, for the masks: int64 [rows] each.
struct RowIds {
  const int64_t *positions, *samples;
};

/// y = layer_norm(dropout(x) + residual), row by row (Ba et al., "Layer normalization", 2016). All [rows, columns].
template <class A>
struct NormForward {
  int64_t rows, columns;
  const A *x, *residual;
  const float *weight, *bias;  ///< [columns]
  double eps;
  RowIds ids;
  A* y;
  A* normalised;   ///< (z - mean) / deviation, for backward; or nullptr
  float* inverse;  ///< [rows], 1 / deviation; or nullptr
};
template <class A>
void dropout_add_norm(const NormForward<A>& n, const DropoutKey& dropout);

/// Its backward: grad_residual = gradient of z, grad_x = the same through the mask; and what the columns sum up to.
template <class A>
struct NormBackward {
  int64_t rows, columns;
  const A *grad_y, *grad_y_too;  ///< their sum is the gradient of y; the second may be nullptr
  const A* normalised;
  const float *inverse, *weight;
  RowIds ids;
  A *grad_residual, *grad_x;         ///< may not overlap the others; the same memory where nothing is dropped
  float *grad_weight, *grad_bias;    ///< [columns]
  float* grad_x_sums;                ///< [columns]: column sums of grad_x, the gradient of the bias of the product before
};
template <class A>
void dropout_add_norm_backward(const NormBackward<A>& n, const DropoutKey& dropout);

/// out = gelu(x) = x * Phi(x) (Hendrycks & Gimpel, 2016), elementwise, [rows, columns]; out may be x.
template <class A>
void gelu_forward(const A* x, A* out, int64_t rows, int64_t columns);

/// In place, [rows, columns]: x becomes gelu(x), grad becomes grad * gelu'(x); sums [columns]: column sums of the new grad.
template <class A>
void gelu_backward(A* x, A* grad, int64_t rows, int64_t columns, float* sums);

/// sums [columns] = sums over the rows of x.
template <class A>
void column_sums(const A* x, int64_t rows, int64_t columns, float* sums);

/// to += from, [rows, columns].
template <class A>
void add_into(A* to, const A* from, int64_t rows, int64_t columns);

}  // namespace fmtrain
