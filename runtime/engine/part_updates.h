// The updates of models/ops/optimizer_update.h for tensors of any device: contiguous fp32 of one size, on the CPU with all
// threads. Elementwise, so any cut of the memory gives the same bits.
#pragma once
#include <ATen/core/Tensor.h>

#include "models/ops/optimizer_update.h"
#include "runtime/engine/shard_plan.h"

namespace fmtrain {

void update_by_adamw(const AdamWUpdate& update, const at::Tensor& param, const at::Tensor& grad, const at::Tensor& exp_avg,
                     const at::Tensor& exp_avg_sq);
void update_by_sgd(const SgdUpdate& update, const at::Tensor& param, const at::Tensor& grad, const at::Tensor& buffer);
/// grad becomes the direction.
void make_lamb_direction(const LambUpdate& update, const at::Tensor& param, const at::Tensor& grad, const at::Tensor& exp_avg,
                         const at::Tensor& exp_avg_sq);
void update_by_direction(double step_size, const at::Tensor& param, const at::Tensor& direction);
void pull_towards(const at::Tensor& start, double strength, const at::Tensor& param);

/// Norm blocks (of kNormBlock elements) of the layout that have a part in `range`.
int64_t norm_blocks(Range range);
/// sums[i] (fp64, on part's device) = sum of squares of what `part`, which begins at element `first` of the layout, has of the
/// i-th of its norm blocks.
void block_sums(const at::Tensor& part, int64_t first, const at::Tensor& sums);

}  // namespace fmtrain
