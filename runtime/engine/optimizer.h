// The update rule over ranges of the flat layout. Elementwise: shards see the same numbers as a whole.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/config/config.h"
#include "runtime/engine/flat_params.h"
#include "runtime/engine/shard_plan.h"

namespace fmtrain {

class Optimizer {
 public:
  /// State for the elements of the ascending ranges `owned` of the layout, which must outlive this object.
  Optimizer(const OptimizerSection& config, const FlatLayout& layout, std::vector<Range> owned, at::TensorOptions options);
  /// values: fp32 [at least layout.numel], of which only the owned ranges are touched; gradients: fp32, one for each owned range
  /// and as long. They are multiplied by `scale` first.
  void step(const at::Tensor& values, const std::vector<at::Tensor>& gradients, double lr, double scale);
  /// Updates done so far.
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  /// "exp_avg/", "exp_avg_sq/" (AdamW) or "momentum/" (SGD), and the state: fp32, the owned ranges one after the other.
  const std::vector<std::pair<std::string, at::Tensor>>& state() const { return state_; }
  const std::vector<Range>& owned() const { return owned_; }

 private:
  void update(const at::Tensor& values, const at::Tensor& gradient, Range part, int64_t at_state, double lr, double scale, double weight_decay);
  OptimizerSection config_;
  const FlatLayout& layout_;
  std::vector<Range> owned_;
  std::vector<std::pair<std::string, at::Tensor>> state_;
  int64_t steps_ = 0;
};

/// The parameters and the optimizer's state inside `wanted`, ascending ranges that the optimizer owns, and its number of updates.
StateDict optimizer_state(const FlatLayout& layout, const at::Tensor& values, const Optimizer& optimizer, const std::vector<Range>& wanted);

/// Blocks of kNormBlock elements of the layout.
int64_t norm_blocks(const FlatLayout& layout);
/// sums[i] = sum of squares of the i-th kNormBlock elements of `part` (fp32, contiguous), the last block as long as it is.
void block_sums(const at::Tensor& part, double* sums);

}  // namespace fmtrain
