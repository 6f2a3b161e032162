// The updates of models/ops/optimizer_update.h for tensors of any device: contiguous fp32 of one size, on the CPU with all
// threads. Elementwise, so any cut of the memory gives the same bits.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/ops/optimizer_update.h"
#include "runtime/engine/gradient_piece.h"
#include "runtime/engine/shard_plan.h"
#include "runtime/engine/table_exchange.h"

namespace fmtrain {

/// The tensors begin at element `first` of the layout; of what `quiet` covers the gradient is not read (CPU). low: bf16 of the
/// same size that receives the new values in the same pass (CPU), or undefined.
void update_by_adamw(const AdamWUpdate& update, const at::Tensor& param, const GradientPiece& grad, const at::Tensor& exp_avg,
                     const at::Tensor& exp_avg_sq, int64_t first = 0, const QuietRows& quiet = {}, const at::Tensor& low = {});
/// low (bf16) = param, on the CPU, as the above rounds.
void round_low(const at::Tensor& param, const at::Tensor& low);
void update_by_sgd(const SgdUpdate& update, const at::Tensor& param, const at::Tensor& grad, const at::Tensor& buffer);
/// grad becomes the direction.
void make_lamb_direction(const LambUpdate& update, const at::Tensor& param, const at::Tensor& grad, const at::Tensor& exp_avg,
                         const at::Tensor& exp_avg_sq);
void update_by_direction(double step_size, const at::Tensor& param, const at::Tensor& direction);
void pull_towards(const at::Tensor& start, double strength, const at::Tensor& param);

/// Norm blocks (of kNormBlock elements) of the layout that have a part in `range`.
int64_t norm_blocks(Range range);
/// sums[i] (fp64, on part's device) = sum of squares of what `part`, which begins at element `first` of the layout, has of the
/// i-th of its norm blocks. What `quiet` covers is not read (CPU).
void block_sums(const GradientPiece& part, int64_t first, const at::Tensor& sums, const QuietRows& quiet = {});

}  // namespace fmtrain
