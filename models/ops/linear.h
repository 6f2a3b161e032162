// x W^T + b, the product of every layer, in fp32 or with bf16 inputs and fp32 sums.
#pragma once
#include <ATen/core/Tensor.h>

namespace fmtrain {

/// A weight and its bf16 copy (undefined in fp32), which the optimizer's owner refreshes once an update.
struct LinearWeight {
  at::Tensor weight;  ///< fp32 [out, in]
  at::Tensor bias;    ///< fp32 [out]
  at::Tensor low;     ///< bf16 [out, in] or undefined
};

/// x [rows, in] fp32 or bf16 -> [rows, out], bf16 when `low` is defined, else fp32. Differentiable in x, weight and bias;
/// their gradients are fp32 (x: its own type), products run on bf16 inputs when `low` is defined. Reference:
/// at::linear(x, weight, bias).
at::Tensor linear(const at::Tensor& x, const LinearWeight& w);

}  // namespace fmtrain
