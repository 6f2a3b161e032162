// The operations of this folder for tensors on a GPU, on the current stream. In a build without CUDA every one throws.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/ops/dropout.h"
#include "models/ops/optimizer_update.h"

namespace fmtrain {

/// x * mask for x fp32 [rows, features] and int64 [rows] positions and samples, all on one GPU; not differentiable.
at::Tensor mask_rows_on_gpu(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& samples, const DropoutKey& key);

/// weights * mask for attention probabilities fp32 [heads, s, s] of one sample on a GPU; differentiable, and the mask is made
/// anew in backward. Masks as packed_attention defines them.
at::Tensor attention_dropout_on_gpu(const at::Tensor& weights, uint32_t sample, const DropoutKey& key);

/// apply_adamw, apply_sgd and sum_of_squares of optimizer_update.h for contiguous fp32 tensors of equal size on one GPU.
/// Elementwise with one path for every element, so any cut of the memory gives the same bits.
void adamw_on_gpu(const AdamWUpdate& update, const at::Tensor& param, const at::Tensor& grad, const at::Tensor& exp_avg,
                  const at::Tensor& exp_avg_sq);
void sgd_on_gpu(const SgdUpdate& update, const at::Tensor& param, const at::Tensor& grad, const at::Tensor& buffer);

/// sums, fp64 [ceil(numel / block)] on the same GPU: the sum of squares of every `block` elements of fp32 `data`, each in an order
/// that depends on its own length only.
void sums_of_squares_on_gpu(const at::Tensor& data, int64_t block, const at::Tensor& sums);

}  // namespace fmtrain
