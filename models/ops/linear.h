// x W^T + b, the product of every layer, in fp32 or with 16-bit inputs and fp32 sums.
#pragma once
#include <ATen/core/Tensor.h>

#include "models/model_config.h"

namespace fmtrain {

/// Type of the inputs of products.
at::ScalarType product_type(Precision precision);

/// A weight and its copy for products (undefined in fp32), which the optimizer's owner refreshes once an update.
struct LinearWeight {
  at::Tensor weight;  ///< fp32 [out, in]
  at::Tensor bias;    ///< fp32 [out]
  at::Tensor low;     ///< bf16 or fp16 [out, in], or undefined
};

/// x [rows, in] fp32 or of `low`'s type -> [rows, out], of `low`'s type when that is defined, else fp32. Differentiable in x, weight
/// and bias; their gradients are fp32 (x: its own type), products run on inputs of `low`'s type when it is defined. Those of fp16
/// overflow beyond 65,504, gradients too. Reference: at::linear(x, weight, bias).
at::Tensor linear(const at::Tensor& x, const LinearWeight& w);

}  // namespace fmtrain
