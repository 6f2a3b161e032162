// Matrix products by the fastest library this build has, without autograd: oneDNN on the CPU in every precision. (ATen's own
// choice for fp32 is MKL, which runs AVX2 code on AMD processors: 112 against 250 GFLOP/s on one Zen 5 core.) The choice depends on
// types and devices only, so it is the same on every rank.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fmtrain {

/// Rows of matrices whose first dimension is the number of tokens are padded with zeros to a multiple of this: a leaf's token count
/// is seldom seen twice, and oneDNN compiles code for every new shape (0.6 ms each).
inline constexpr int64_t kRowMultiple = 16;
constexpr int64_t padded_rows(int64_t rows) { return (rows + kRowMultiple - 1) / kRowMultiple * kRowMultiple; }

/// x [rows, in] times the transposed weight [out, in], plus bias [out] unless undefined -> [rows, out]; all of one floating-point
/// type, which the result has; sums are fp32.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

/// dy [rows, out] times weight [out, in] -> [rows, in]: the gradient with respect to x.
at::Tensor product_grad_input(const at::Tensor& dy, const at::Tensor& weight);

/// dy [rows, out] transposed times x [rows, in] -> [out, in]: the gradient with respect to the weight. place: where it may be put, of that
/// shape and type, contiguous; or undefined.
at::Tensor product_grad_weight(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& place = {});

/// Three matrices of one shape [n, m] as [3 n, m], a view; undefined where they do not lie one after the other.
at::Tensor as_one(const at::Tensor& a, const at::Tensor& b, const at::Tensor& c);

}  // namespace fmtrain
