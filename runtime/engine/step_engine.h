// What all engines do alike: the leaves of a step one after the other, buckets of gradients reduced while the last backward still
// runs, and one update that all ranks agree on. How gradients and parameters lie is the derived engine's.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/engine/agreement.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/flat_params.h"
#include "runtime/engine/gradient_hooks.h"
#include "runtime/engine/loss_scale.h"
#include "runtime/engine/optimizer.h"
#include "runtime/engine/table_exchange.h"

namespace fmtrain {

class StepEngine : public Engine {
 public:
  void train_down_to(int64_t depth) final;
  void begin_step(const StepShape& shape) final;
  void backward(const Loss& loss, bool last_leaf) final;
  const LeafDigest& watched() const final { return watched_; }
  LeafDigest digest(const Loss& loss) final;
  StepResult step(double lr, bool stop) final;
  void swap_average() final;
  void load_state(const Json& small) final;

 protected:
  /// This rank updates the ranges `owned` of the layout. `params` hold the values that the run starts from on every rank.
  /// `group`: its other ranks update the rest; where all of it share memory, the model's bf16 copies move there. None: nobody does.
  StepEngine(TaskModel& model, Communicator& comm, const UpdateOptions& update, FlatParams params, std::vector<Range> owned,
             Communicator* group = nullptr);
  const FlatLayout& layout() const { return params_.layout(); }
  const at::Tensor& values() const { return params_.values(); }
  const StepShape& shape() const { return shape_; }
  /// What is saved and loaded of the ranges `wanted`, which this rank updates.
  StateDict state_of(const std::vector<Range>& wanted) const;
  bool last_leaf() const { return leaf_ + 1 == shape_.present; }
  /// The word table, where its gradient is exchanged by rows: on the CPU, if it is in the layout.
  const std::optional<Table>& table() const { return table_; }
  /// The layout begins with what is furthest from the head, so what is trained is always its end: the tensors from this one on.
  size_t first_trained() const { return first_trained_; }
  /// Buckets [first, last) that hold elements of each tensor, of `buckets`; once, when the engine is made.
  void set_buckets(std::vector<std::pair<size_t, size_t>> buckets_of, size_t buckets);

  virtual void begin_leaves() = 0;
  virtual void add_gradient(size_t tensor, const at::Tensor& gradient) = 0;
  /// Where the model may put it before, as GradientPlace.
  virtual at::Tensor place_for(size_t) const { return {}; }
  /// What of it lies in a bucket, the last bucket first: one that is reduced before the next is filled never waits in memory.
  virtual void add_part(size_t, size_t, const at::Tensor&) {}
  virtual void finish_leaf() = 0;
  /// Begins to reduce a bucket, of which every gradient is final; perhaps with a work that is to be waited for.
  virtual Work reduce(size_t bucket) = 0;
  /// What is reduced by itself, after the buckets.
  virtual void reduce_rest() = 0;
  /// The reduced gradient of each owned range, after all that.
  virtual std::vector<GradientPiece> gradients() = 0;
  /// Where the reduced gradient is zero.
  virtual QuietRows quiet_rows() const = 0;
  /// It is so no longer: every row of the table has something else.
  virtual void forget_quiet_rows() = 0;
  /// Fills in the sums of squares of the norm blocks that are this rank's to sum; the others are zero.
  virtual void add_squares(const at::Tensor& squares) = 0;
  /// Every rank sees the parameters of every owner, in the buckets from `first_bucket` on.
  virtual void hand_out(size_t first_bucket) = 0;

  Communicator& comm_;
  FlatParams params_;
  Optimizer optimizer_;

 private:
  void gradient_ready(size_t tensor, const at::Tensor& gradient);
  bool of_digest() const { return leaf_ == shape_.present; }  ///< while backward runs
  void run_backward(const Loss& loss);
  void reduce_down_to(size_t bucket);
  void settle_scale(StepResult& result);
  void mark_trained();
  void take_low_copies(Communicator* group);
  static void move_low_copies(std::vector<at::Tensor>& low, const FlatLayout& layout, Communicator& group);
  void refresh_low_copies();
  void make_low_copies_anew();
  /// Values, and the copies of these.
  using LowCopies = std::vector<std::pair<at::Tensor, at::Tensor>>;
  static void round_all(const LowCopies& copies);

  TaskModel& model_;
  double clip_;
  std::optional<Table> table_;
  bool keeps_low_ = false;  ///< the optimizer writes the model's bf16 copies of what this rank owns
  bool shares_low_ = false;  ///< then: they lie in memory that all ranks of the group see
  LowCopies mine_, others_;  ///< then: of what this rank owns, and of what other ranks do
  LossScale loss_scale_;
  std::vector<std::pair<size_t, size_t>> buckets_of_;
  std::vector<int64_t> tensors_of_;  ///< trained tensors that have elements in each bucket
  size_t first_trained_ = 0, first_bucket_ = 0;  ///< tensor, and the first bucket that has some of it
  std::vector<int64_t> waiting_;     ///< of these, still without their final gradient
  size_t next_bucket_ = 0;           ///< buckets below this one have not been started
  std::vector<Work> works_;
  StepShape shape_;
  StepFacts facts_;
  int64_t leaf_ = 0;
  std::vector<std::string> hashes_;  ///< of each tensor's gradient, while a digest is made; else empty
  LeafDigest watched_;
  GradientHooks hooks_;
};

}  // namespace fmtrain
