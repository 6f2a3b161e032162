#include <torch/autograd.h>

#include <chrono>

#include "runtime/engine/agreement.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/flat_params.h"
#include "runtime/engine/gradient_hooks.h"
#include "runtime/engine/leaf_sum.h"
#include "runtime/engine/optimizer.h"

namespace fmtrain {
namespace {

/// Elements after which a bucket is closed: 4 Mi floats are 16 MiB.
constexpr int64_t kBucket = 4 << 20;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Consecutive tensors of the layout that are reduced together.
struct Bucket {
  int64_t first, last;  ///< elements
  int64_t tensors;      ///< how many it holds
};

class ReplicatedEngine final : public Engine {
 public:
  ReplicatedEngine(TaskModel& model, Communicator& comm, const OptimizerSection& optimizer, bool exact)
      : model_(model), comm_(comm), op_(exact ? ReduceOp::kTreeSum : ReduceOp::kSum), clip_(optimizer.clip_norm), params_(trainable(model)),
        gradient_(comm.allocate(layout().numel, at::kFloat)), sum_(layout(), gradient_, exact),
        optimizer_(optimizer, layout(), {{0, layout().numel}}, gradient_.options()),
        hooks_(params_.parameters(), [this](size_t i, const at::Tensor& gradient) { gradient_ready(i, gradient); }) {
    cut_buckets();
    model.parameters_changed();
  }

  void begin_step(const StepShape& shape) override {
    shape_ = shape;
    facts_ = {std::vector<double>(static_cast<size_t>(shape.slots), 0.0), std::vector<double>(static_cast<size_t>(norm_blocks(layout())), 0.0),
              shape.divisor, false};
    leaf_ = 0;
    next_bucket_ = buckets_.size();
    waiting_.resize(buckets_.size());
    for (size_t b = 0; b < buckets_.size(); ++b) waiting_[b] = buckets_[b].tensors;
    sum_.begin(shape.present);
  }

  void backward(const Loss& loss, bool last_leaf) override {
    TORCH_CHECK(last_leaf == sum_.last_leaf(), "leaf ", leaf_, " of ", shape_.present, " is out of order");
    facts_.losses[static_cast<size_t>(shape_.first + leaf_)] = loss.sum.item<double>();
    torch::autograd::backward({loss.sum}, {at::full_like(loss.sum, 1.0 / shape_.divisor)});
    const at::NoGradGuard no_grad;
    sum_.finish_leaf();
    ++leaf_;
  }

  StepResult step(double lr, bool stop) override {
    TORCH_CHECK(leaf_ == shape_.present, "step after ", leaf_, " of ", shape_.present, " leaves");
    const at::NoGradGuard no_grad;
    StepResult result;
    const double start = now();
    reduce_rest();
    add_squares();
    facts_.stop = stop;
    agree(comm_, facts_, gradient_.device(), result);
    result.communication = now() - start;
    if (result.applied) {
      optimizer_.step(params_.values(), {gradient_}, lr, clip_scale(clip_, result.grad_norm));
      model_.parameters_changed();
    }
    result.optimizer = now() - start - result.communication;
    return result;
  }

  StateDict state() override { return pieces(ShardPlan(layout().numel, comm_.size()).owned(comm_.rank())); }
  StateDict targets() override { return pieces(optimizer_.owned()); }
  void load_state(const Json& small) override {
    optimizer_.set_steps(small.at("optimizer_steps").get<int64_t>());
    model_.parameters_changed();
  }

 private:
  const FlatLayout& layout() const { return params_.layout(); }

  void cut_buckets() {
    bucket_of_.resize(layout().tensors.size());
    for (size_t i = 0; i < layout().tensors.size(); ++i) {
      const auto& t = layout().tensors[i];
      if (i == 0 || buckets_.back().last - buckets_.back().first >= kBucket) buckets_.push_back({t.offset, t.offset, 0});
      buckets_.back().last = i + 1 < layout().tensors.size() ? layout().tensors[i + 1].offset : layout().numel;
      ++buckets_.back().tensors;
      bucket_of_[i] = buckets_.size() - 1;
    }
  }

  /// Backward finishes the last layers first, so buckets start from the back, always in this order on every rank.
  void gradient_ready(size_t tensor, const at::Tensor& gradient) {
    sum_.add(tensor, gradient);
    if (!sum_.last_leaf()) return;
    --waiting_[bucket_of_[tensor]];
    while (next_bucket_ > 0 && waiting_[next_bucket_ - 1] == 0) reduce(--next_bucket_);
  }

  void reduce(size_t bucket) {
    const auto& b = buckets_[bucket];
    works_.push_back(comm_.all_reduce(gradient_.narrow(0, b.first, b.last - b.first), op_));
  }

  void reduce_rest() {
    while (next_bucket_ > 0) reduce(--next_bucket_);
    for (auto& work : works_) work.wait();
    works_.clear();
  }

  /// Every rank sums the squares of its share of the blocks.
  void add_squares() {
    const int64_t blocks = norm_blocks(layout()), size = comm_.size(), rank = comm_.rank();
    const int64_t first = rank * blocks / size, last = (rank + 1) * blocks / size;
    const Range part{std::min(first * kNormBlock, layout().numel), std::min(last * kNormBlock, layout().numel)};
    block_sums(gradient_.narrow(0, part.first, part.numel()), facts_.squares.data() + first);
  }

  StateDict pieces(const std::vector<Range>& ranges) { return optimizer_state(layout(), params_.values(), optimizer_, ranges); }

  TaskModel& model_;
  Communicator& comm_;
  ReduceOp op_;
  double clip_;
  FlatParams params_;
  at::Tensor gradient_;
  LeafSum sum_;
  Optimizer optimizer_;
  GradientHooks hooks_;
  std::vector<Bucket> buckets_;
  std::vector<size_t> bucket_of_;
  StepShape shape_;
  int64_t leaf_ = 0;
  StepFacts facts_;
  std::vector<int64_t> waiting_;  ///< tensors still without their final gradient, a bucket
  size_t next_bucket_ = 0;        ///< buckets below this one have not been started
  std::vector<Work> works_;
};

}  // namespace

std::unique_ptr<Engine> make_replicated_engine(TaskModel& model, Communicator& comm, const OptimizerSection& optimizer, bool exact) {
  return std::make_unique<ReplicatedEngine>(model, comm, optimizer, exact);
}

}  // namespace fmtrain
