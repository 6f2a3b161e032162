#include <torch/torch.h>

#include <chrono>
#include <cmath>

#include "runtime/engine/engine.h"
#include "runtime/engine/flat_params.h"
#include "runtime/engine/leaf_sum.h"
#include "runtime/engine/optimizer.h"

namespace fmtrain {
namespace {

/// Elements after which a bucket is closed: 4 Mi floats are 16 MiB.
constexpr int64_t kBucket = 4 << 20;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::vector<NamedParameter> trainable(TaskModel& model) {
  std::vector<NamedParameter> result;
  for (const auto& p : model.parameters())
    if (p.value.requires_grad()) result.push_back(p);
  return result;
}

/// Calls back when autograd has finished the gradient of one parameter, and takes that gradient away.
class GradientHook final : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit GradientHook(std::function<void(const at::Tensor&)> ready) : ready_(std::move(ready)) {}
  void operator()(const torch::autograd::Variable& parameter) override {
    const at::NoGradGuard no_grad;
    ready_(parameter.grad());
    parameter.mutable_grad().reset();
  }

 private:
  std::function<void(const at::Tensor&)> ready_;
};

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
        optimizer_(optimizer, layout(), {0, layout().numel}, gradient_.options()) {
    cut_buckets();
    for (size_t i = 0; i < params_.parameters().size(); ++i)
      torch::autograd::impl::set_post_acc_grad_hooks(
          params_.parameters()[i].value, std::make_unique<GradientHook>([this, i](const at::Tensor& gradient) { gradient_ready(i, gradient); }));
    model.parameters_changed();
  }

  ~ReplicatedEngine() override {
    for (const auto& p : params_.parameters()) torch::autograd::impl::set_post_acc_grad_hooks(p.value, nullptr);
  }

  void begin_step(const StepShape& shape) override {
    shape_ = shape;
    losses_.assign(static_cast<size_t>(shape.slots), 0.0);
    leaf_ = 0;
    next_bucket_ = buckets_.size();
    waiting_.resize(buckets_.size());
    for (size_t b = 0; b < buckets_.size(); ++b) waiting_[b] = buckets_[b].tensors;
    sum_.begin(shape.present);
  }

  void backward(const Loss& loss, bool last_leaf) override {
    TORCH_CHECK(last_leaf == sum_.last_leaf(), "leaf ", leaf_, " of ", shape_.present, " is out of order");
    losses_[static_cast<size_t>(shape_.first + leaf_)] = loss.sum.item<double>();
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
    agree(result, stop);
    result.communication = now() - start;
    if (result.applied) {
      optimizer_.step(params_.values(), gradient_, lr, clip_scale(result.grad_norm));
      model_.parameters_changed();
    }
    result.optimizer = now() - start - result.communication;
    return result;
  }

  StateDict state() override { return pieces(ShardPlan{layout().numel, comm_.size()}.range(comm_.rank())); }
  StateDict targets() override { return pieces({0, layout().numel}); }
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

  /// Loss, gradient norm and the wish to stop in one exchange. Every slot is filled by one rank, the others add zero.
  void agree(StepResult& result, bool stop) {
    const int64_t blocks = norm_blocks(layout());
    auto facts = at::zeros({shape_.slots + blocks + 1}, at::kDouble);
    auto* values = facts.data_ptr<double>();
    std::copy(losses_.begin(), losses_.end(), values);
    const int64_t size = comm_.size(), rank = comm_.rank();
    block_sums(gradient_, rank * blocks / size, (rank + 1) * blocks / size, values + shape_.slots);
    values[shape_.slots + blocks] = stop ? 1 : 0;
    at::Tensor shared = facts.to(gradient_.device());  // the communicator's own device
    comm_.all_reduce(shared, ReduceOp::kSum).wait();
    facts.copy_(shared);
    double squares = 0;
    for (int64_t i = 0; i < shape_.slots; ++i) result.loss += values[i];
    for (int64_t b = 0; b < blocks; ++b) squares += values[shape_.slots + b];
    result.loss /= shape_.divisor;
    result.grad_norm = std::sqrt(squares);
    result.applied = std::isfinite(result.loss) && std::isfinite(result.grad_norm);
    result.stop = values[shape_.slots + blocks] > 0;
  }

  /// As torch.nn.utils.clip_grad_norm_.
  double clip_scale(double norm) const { return clip_ > 0 ? std::min(1.0, clip_ / (norm + 1e-6)) : 1.0; }

  StateDict pieces(std::pair<int64_t, int64_t> range) {
    StateDict dict;
    append_pieces(dict.pieces, "param/", layout(), params_.values(), range);
    for (const auto& [prefix, state] : optimizer_.state()) append_pieces(dict.pieces, prefix, layout(), state, range);
    dict.small["optimizer_steps"] = optimizer_.steps();
    return dict;
  }

  TaskModel& model_;
  Communicator& comm_;
  ReduceOp op_;
  double clip_;
  FlatParams params_;
  at::Tensor gradient_;
  LeafSum sum_;
  Optimizer optimizer_;
  std::vector<Bucket> buckets_;
  std::vector<size_t> bucket_of_;
  StepShape shape_;
  int64_t leaf_ = 0;
  std::vector<double> losses_;
  std::vector<int64_t> waiting_;  ///< tensors still without their final gradient, a bucket
  size_t next_bucket_ = 0;        ///< buckets below this one have not been started
  std::vector<Work> works_;
};

}  // namespace

std::unique_ptr<Engine> make_replicated_engine(TaskModel& model, Communicator& comm, const OptimizerSection& optimizer, bool exact) {
  return std::make_unique<ReplicatedEngine>(model, comm, optimizer, exact);
}

}  // namespace fmtrain
