// The update rule over a range of the flat layout. Elementwise: shards see the same numbers as a whole.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/config/config.h"
#include "runtime/engine/flat_params.h"

namespace fmtrain {

class Optimizer {
 public:
  /// State for the elements [range.first, range.second) of the layout, which must outlive this object.
  Optimizer(const OptimizerSection& config, const FlatLayout& layout, std::pair<int64_t, int64_t> range, at::TensorOptions options);
  /// values, gradient: fp32 [layout.numel]; only the range is touched. The gradient is multiplied by `scale` first.
  void step(const at::Tensor& values, const at::Tensor& gradient, double lr, double scale);
  /// Updates done so far.
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  /// "exp_avg/", "exp_avg_sq/" (AdamW) or "momentum/" (SGD), and the state: fp32 [range].
  const std::vector<std::pair<std::string, at::Tensor>>& state() const { return state_; }
  std::pair<int64_t, int64_t> range() const { return range_; }

 private:
  void update(const at::Tensor& values, const at::Tensor& gradient, int64_t first, int64_t last, double lr, double scale, double weight_decay);
  OptimizerSection config_;
  const FlatLayout& layout_;
  std::pair<int64_t, int64_t> range_;
  std::vector<std::pair<std::string, at::Tensor>> state_;
  int64_t steps_ = 0;
};

/// Elements of the fixed blocks of the flat layout over which the squares of the gradient are summed in fp64.
inline constexpr int64_t kNormBlock = 64 * 1024;
int64_t norm_blocks(const FlatLayout& layout);
/// sums[b] = sum of squares of block b, for the blocks [first, last).
void block_sums(const at::Tensor& gradient, int64_t first, int64_t last, double* sums);

}  // namespace fmtrain
