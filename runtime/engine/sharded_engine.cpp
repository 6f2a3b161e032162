// ZeRO stages 1 to 3 over the flat layout. Every rank owns a piece of every bucket: it keeps the optimizer state of its pieces,
// receives their reduced gradient, updates their parameters and hands these out.
//   stage 1: the gradient is whole on every rank until it is reduced
//   stage 2: with one leaf a rank, a bucket's gradient exists only from backward to its reduction
//   stage 3: as 2; parameters lie once in memory that the ranks of a node share (in every stage here, where ranks share memory)
#include <torch/autograd.h>

#include <chrono>
#include <cstring>
#include <map>

#include "runtime/engine/agreement.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/flat_params.h"
#include "runtime/engine/gradient_hooks.h"
#include "runtime/engine/leaf_sum.h"
#include "runtime/engine/optimizer.h"
#include "runtime/engine/shard_plan.h"

namespace fmtrain {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Elements of a sparse gradient [rows, columns] that lie in `part` of the flattened tensor, added into `to` (zero elsewhere).
void put_rows(at::Tensor to, const at::Tensor& gradient, Range part) {
  const auto rows = gradient.coalesce();
  const auto indices = rows.indices()[0].contiguous(), values = rows.values().contiguous();
  const int64_t columns = values.size(1);
  for (int64_t i = 0; i < values.size(0); ++i) {
    const int64_t row = indices.data_ptr<int64_t>()[i] * columns;
    const int64_t first = std::max(row, part.first), last = std::min(row + columns, part.last);
    if (first < last) to.narrow(0, first - part.first, last - first).copy_(values[i].narrow(0, first - row, last - first));
  }
}

class ShardedEngine final : public Engine {
 public:
  ShardedEngine(TaskModel& model, Communicator& comm, const OptimizerSection& optimizer, int stage, bool exact)
      : model_(model), comm_(comm), stage_(stage), exact_(exact), clip_(optimizer.clip_norm), parameters_(trainable(model)),
        plan_(make_layout(parameters_).numel, comm.size()),
        params_(parameters_, comm.allocate_shared(plan_.padded(), at::kFloat)),
        optimizer_(optimizer, layout(), plan_.owned(comm.rank()), params_.values().options()),
        hooks_(parameters_, [this](size_t i, const at::Tensor& gradient) { gradient_ready(i, gradient); }) {
    tensors_of_.resize(plan_.buckets());
    for (size_t t = 0; t < layout().tensors.size(); ++t) each_bucket(t, [&](size_t b, Range) { ++tensors_of_[b]; });
    if (stage == 1) make_whole_gradient();
    else shard_ = at::zeros({plan_.shard_numel()}, params_.values().options());
    comm.barrier();  // all have put the same values into the memory they share
    model.parameters_changed();
  }

  void begin_step(const StepShape& shape) override {
    shape_ = shape;
    facts_ = {std::vector<double>(static_cast<size_t>(shape.slots), 0.0), std::vector<double>(static_cast<size_t>(norm_blocks(layout())), 0.0),
              shape.divisor, false};
    leaf_ = 0;
    next_bucket_ = plan_.buckets();
    waiting_ = tensors_of_;
    if (stage_ > 1 && shape.present > 1 && !whole_.defined()) make_whole_gradient();
    if (sum_) sum_->begin(shape.present);
  }

  void backward(const Loss& loss, bool last_leaf) override {
    TORCH_CHECK(last_leaf == (leaf_ + 1 == shape_.present), "leaf ", leaf_, " of ", shape_.present, " is out of order");
    facts_.losses[static_cast<size_t>(shape_.first + leaf_)] = loss.sum.item<double>();
    torch::autograd::backward({loss.sum}, {at::full_like(loss.sum, 1.0 / shape_.divisor)});
    const at::NoGradGuard no_grad;
    if (!streams()) sum_->finish_leaf();
    ++leaf_;
  }

  StepResult step(double lr, bool stop) override {
    TORCH_CHECK(leaf_ == shape_.present, "step after ", leaf_, " of ", shape_.present, " leaves");
    const at::NoGradGuard no_grad;
    StepResult result;
    const double start = now();
    while (next_bucket_ > 0) reduce(--next_bucket_);
    for (auto& work : works_) work.wait();
    works_.clear();
    const auto gradients = own_gradients();
    add_squares(gradients);
    facts_.stop = stop;
    agree(comm_, facts_, params_.values().device(), result);
    result.communication = now() - start;
    if (result.applied) {
      optimizer_.step(params_.values(), gradients, lr, clip_scale(clip_, result.grad_norm));
      result.optimizer = now() - start - result.communication;
      hand_out();
      model_.parameters_changed();
    }
    result.communication = now() - start - result.optimizer;
    return result;
  }

  StateDict state() override { return optimizer_state(layout(), params_.values(), optimizer_, optimizer_.owned()); }
  StateDict targets() override { return state(); }
  void load_state(const Json& small) override {
    optimizer_.set_steps(small.at("optimizer_steps").get<int64_t>());
    hand_out();
    model_.parameters_changed();
  }

 private:
  const FlatLayout& layout() const { return params_.layout(); }

  /// Stages 2 and 3 with one leaf (or none): gradients go from backward into the buckets' own memory.
  bool streams() const { return stage_ > 1 && shape_.present <= 1; }

  void make_whole_gradient() {
    whole_ = stage_ == 1 ? comm_.allocate(plan_.padded(), at::kFloat) : at::zeros({plan_.padded()}, params_.values().options());
    sum_ = std::make_unique<LeafSum>(layout(), whole_.narrow(0, 0, layout().numel), exact_);
  }

  /// Calls use(bucket, range) for every bucket that holds elements of tensor t.
  template <class Use>
  void each_bucket(size_t t, const Use& use) const {
    const auto& tensor = layout().tensors[t];
    for (size_t b = 0; b < plan_.buckets(); ++b) {
      const Range bucket = plan_.bucket(b);
      const Range part{std::max(bucket.first, tensor.offset), std::min(bucket.last, tensor.offset + tensor.numel)};
      if (part.first < part.last) use(b, part);
    }
  }

  void gradient_ready(size_t t, const at::Tensor& gradient) {
    const bool last = leaf_ + 1 == shape_.present;
    if (!streams()) sum_->add(t, gradient);
    each_bucket(t, [&](size_t b, Range part) {
      if (streams()) put(b, part, gradient, layout().tensors[t].offset);
      if (last) --waiting_[b];
    });
    // Backward finishes the last layers first, so buckets start from the back, always in this order on every rank.
    while (last && next_bucket_ > 0 && waiting_[next_bucket_ - 1] == 0) reduce(--next_bucket_);
  }

  at::Tensor& bucket_memory(size_t b) {
    auto& memory = live_[b];
    // -0.0: x + -0.0 == x also where x is -0.0, as for a rank without a leaf
    if (!memory.defined()) memory = at::full({plan_.bucket(b).numel()}, shape_.present == 0 ? -0.0 : 0.0, params_.values().options());
    return memory;
  }

  void put(size_t b, Range part, const at::Tensor& gradient, int64_t tensor_offset) {
    const auto to = bucket_memory(b).narrow(0, part.first - plan_.bucket(b).first, part.numel());
    const Range inside{part.first - tensor_offset, part.last - tensor_offset};
    if (gradient.is_sparse()) put_rows(to, gradient, inside);
    else to.copy_(gradient.reshape(-1).narrow(0, inside.first, inside.numel()));
  }

  void reduce(size_t b) {
    const auto op = exact_ ? ReduceOp::kTreeSum : ReduceOp::kSum;
    const Range bucket = plan_.bucket(b), piece = plan_.piece(b, comm_.rank());
    if (stage_ == 1) {
      works_.push_back(comm_.reduce_scatter(whole_.narrow(0, piece.first, piece.numel()), whole_.narrow(0, bucket.first, bucket.numel()), op));
      return;
    }
    const auto full = streams() ? bucket_memory(b) : whole_.narrow(0, bucket.first, bucket.numel());
    comm_.reduce_scatter(shard_.narrow(0, plan_.shard_offset(b), piece.numel()), full, op).wait();
    live_.erase(b);
  }

  /// The reduced gradient of each owned range.
  std::vector<at::Tensor> own_gradients() const {
    std::vector<at::Tensor> parts;
    for (size_t b = 0; b < plan_.buckets(); ++b) {
      const Range owned = plan_.owned(b, comm_.rank());
      parts.push_back(stage_ == 1 ? whole_.narrow(0, owned.first, owned.numel()) : shard_.narrow(0, plan_.shard_offset(b), owned.numel()));
    }
    return parts;
  }

  void add_squares(const std::vector<at::Tensor>& gradients) {
    for (size_t b = 0; b < gradients.size(); ++b)
      block_sums(gradients[b], facts_.squares.data() + plan_.piece(b, comm_.rank()).first / kNormBlock);
  }

  /// Every rank sees the parameters of every owner.
  void hand_out() {
    std::vector<Work> works;
    for (size_t b = 0; b < plan_.buckets(); ++b) {
      const Range bucket = plan_.bucket(b), piece = plan_.piece(b, comm_.rank());
      works.push_back(comm_.all_gather(params_.values().narrow(0, bucket.first, bucket.numel()), params_.values().narrow(0, piece.first, piece.numel())));
    }
    for (auto& work : works) work.wait();
  }

  TaskModel& model_;
  Communicator& comm_;
  int stage_;
  bool exact_;
  double clip_;
  std::vector<NamedParameter> parameters_;
  ShardPlan plan_;
  FlatParams params_;
  Optimizer optimizer_;
  GradientHooks hooks_;
  at::Tensor whole_;                    ///< gradient of the whole layout, padded; stage 1, or more than one leaf
  at::Tensor shard_;                    ///< stages 2, 3: reduced gradient of this rank's pieces
  std::unique_ptr<LeafSum> sum_;        ///< into whole_
  std::map<size_t, at::Tensor> live_;   ///< stages 2, 3: buckets between backward and reduction
  std::vector<int64_t> tensors_of_;     ///< tensors that have elements in each bucket
  std::vector<int64_t> waiting_;        ///< of these, still without their final gradient
  StepShape shape_;
  StepFacts facts_;
  int64_t leaf_ = 0;
  size_t next_bucket_ = 0;              ///< buckets below this one have not been started
  std::vector<Work> works_;
};

}  // namespace

std::unique_ptr<Engine> make_sharded_engine(TaskModel& model, Communicator& comm, const OptimizerSection& optimizer, int stage, bool exact) {
  TORCH_CHECK(stage >= 1 && stage <= 3, "ZeRO stage ", stage);
  return std::make_unique<ShardedEngine>(model, comm, optimizer, stage, exact);
}

}  // namespace fmtrain
