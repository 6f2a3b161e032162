// The update rule over ranges of the flat layout. Elementwise, but for the norms of whole tensors (LAMB), which are summed over
// fixed blocks: shards see the same numbers as a whole.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/config/config.h"
#include "runtime/engine/flat_params.h"
#include "runtime/engine/gradient_piece.h"
#include "runtime/engine/row_set.h"
#include "runtime/engine/shard_plan.h"

namespace fmtrain {

/// What an update depends on, besides the gradient.
struct UpdateOptions {
  OptimizerSection optimizer;
  double l2_start = 0;  ///< finetune.l2_start
  int64_t layers = 0;   ///< of the encoder; for optimizer.layer_decay
  bool offload = false; ///< engine.offload: state and updates on the host
};

/// What is kept for every parameter, as prefixes of names: "exp_avg/", "exp_avg_sq/" (AdamW, LAMB) or "momentum/" (SGD), "start/",
/// where the run started, if something pulls there, and "ema/", the average that optimizer.ema asks for.
std::vector<std::string> optimizer_states(const OptimizerSection& config, double l2_start);

/// How one tensor is treated.
struct TensorRates {
  double lr = 1;            ///< factor: layer_decay to the power of its depth below the head (Clark et al., "ELECTRA", ICLR 2020)
  double weight_decay = 0;  ///< towards 0; not of biases and norm weights
  double pull = 0;          ///< towards the start; of the backbone, in place of weight decay
};
TensorRates rates_of(const UpdateOptions& options, const FlatTensor& tensor);

class Optimizer {
 public:
  /// State for the elements of the ascending ranges `owned` of the layout, which must outlive this object. A range begins where a
  /// norm block does. values: the parameters that the run starts from, fp32 [at least layout.numel].
  Optimizer(const UpdateOptions& options, const FlatLayout& layout, std::vector<Range> owned, const at::Tensor& values);
  /// Makes a table whole of which every rank has filled what it owns, with 0 elsewhere.
  using Join = std::function<void(at::Tensor)>;
  /// values: as above, of which only the owned ranges are touched; gradients: one for each owned range and as long, in memory unless
  /// one_pass(). They are multiplied by `scale` first, and may be overwritten. `join` is collective, called by all ranks or by none; not needed by an
  /// optimizer that owns everything.
  /// What `quiet` covers of the gradients is zero, and need not be read.
  /// With offload the gradients are copied to host memory, where a copy of the owned values is updated, and that goes back.
  void step(const at::Tensor& values, const std::vector<GradientPiece>& gradients, double lr, double scale, const Join& join = {},
            const QuietRows& quiet = {});
  /// bf16 copies, by tensor and as long (undefined: none), into which step() rounds the owned values that it changes, in its own pass
  /// over them.
  void keep_low(std::vector<at::Tensor> low) { low_ = std::move(low); }
  /// step() reads each element of the gradient once, and changes what belongs to it then: AdamW, without offload or a GPU. Else there
  /// can be no 16-bit copies.
  bool one_pass() const { return config_.name == OptimizerName::kAdamW && !host_values_.defined() && !state_[0].second.is_cuda(); }
  /// step() leaves something else in the gradients.
  bool overwrites_gradients() const { return config_.name == OptimizerName::kLamb; }
  /// The owned values were changed from outside.
  void values_changed(const at::Tensor& values);
  /// Exchanges the owned ranges of `values` with their average: e += (1 - optimizer.ema) (p - e) after each update, from e = p at
  /// the start (Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", 1992, with decaying weights). Until this
  /// is called again, nothing may be updated and the state not be asked for. Memory: 4 MiB.
  void swap_average(const at::Tensor& values);
  bool average_swapped() const { return average_swapped_; }
  /// Only tensors at most `depth` below the head (parameter_place.h) are updated from now on; what has not been until now begins
  /// with its first update: bias correction, moments of 0, and the average at the weights. Never called: every tensor is, from the
  /// start. False: nothing changes by it, as for a depth less than before.
  bool train_down_to(int64_t depth);
  bool trains(size_t tensor) const { return unfrozen_at_.empty() || depths_[tensor] < std::ssize(unfrozen_at_); }
  /// Updates that were done when each depth joined, as far as they have; empty: train_down_to was never called.
  const std::vector<int64_t>& unfrozen_at() const { return unfrozen_at_; }
  /// Updates done so far.
  int64_t steps() const { return steps_; }
  /// From a saved state. Throws CheckpointError when these are no numbers of updates in the order of joining.
  void set_steps(int64_t steps, std::vector<int64_t> unfrozen_at = {});
  /// optimizer_states() with their values: fp32, the owned ranges one after the other.
  const std::vector<std::pair<std::string, at::Tensor>>& state() const { return state_; }
  const std::vector<Range>& owned() const { return owned_; }

 private:
  /// What one owned range has of one tensor.
  struct Part {
    size_t tensor;
    Range range;                 ///< of the layout
    at::Tensor value;            ///< fp32 [range.numel()]
    GradientPiece gradient;      ///< as long
    int64_t at_state;            ///< where it begins in the state
  };
  /// Both have one an owned range.
  using Pieces = std::vector<at::Tensor>;
  using Gradients = std::vector<GradientPiece>;
  /// What `memory` has of the owned ranges: it holds the layout, or these alone, one after the other.
  Pieces of_layout(const at::Tensor& memory) const;
  Pieces of_owned(const at::Tensor& memory) const;
  /// Updates that a tensor has had.
  int64_t steps_of(size_t tensor) const;
  /// Of the tensors that are trained.
  std::vector<Part> parts(const Pieces& values, const Gradients& gradients) const;
  void update(const Pieces& values, const Gradients& gradients, double lr, double scale, const Join& join, const QuietRows& quiet);
  const at::Tensor& state_named(const std::string& name) const;
  at::Tensor state_of(const Part& part, const char* name) const;
  at::Tensor low_of(const Part& part) const;
  /// `quiet` with the rows that are awake, for AdamW.
  QuietRows with_awake(const QuietRows& quiet);
  void step_elementwise(const std::vector<Part>& parts, double lr, double scale, const QuietRows& quiet) const;  ///< AdamW, SGD
  void lamb(const std::vector<Part>& parts, double lr, double scale, const Join& join);
  std::vector<double> trust_ratios(const std::vector<Part>& parts, const Join& join) const;

  OptimizerSection config_;
  const FlatLayout& layout_;
  std::vector<Range> owned_;
  std::vector<TensorRates> rates_;  ///< of every tensor
  std::vector<at::Tensor> low_;     ///< of every tensor, or empty
  std::vector<std::pair<std::string, at::Tensor>> state_;
  at::Tensor host_values_, host_gradients_;  ///< offload: of the owned ranges, one after the other; pinned beside a GPU
  std::vector<int64_t> depths_;     ///< of every tensor below the head
  int64_t deepest_ = 0;
  std::vector<int64_t> unfrozen_at_;
  int64_t steps_ = 0;
  bool average_swapped_ = false;
  std::optional<RowSet> awake_;     ///< AdamW: rows of the table whose moments may not be +0; not known before the first update
};

/// The parameters and the optimizer's state inside `wanted`, ascending ranges that the optimizer owns, and its number of updates.
StateDict optimizer_state(const FlatLayout& layout, const at::Tensor& values, const Optimizer& optimizer,
                          const std::vector<Range>& wanted);

}  // namespace fmtrain
