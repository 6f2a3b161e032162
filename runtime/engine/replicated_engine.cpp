#include <ATen/ATen.h>

#include "runtime/engine/leaf_sum.h"
#include "runtime/engine/part_updates.h"
#include "runtime/engine/step_engine.h"
#include "runtime/ledger.h"

namespace fmtrain {
namespace {

/// Elements after which a bucket is closed: 4 Mi floats are 16 MiB.
constexpr int64_t kBucket = 4 << 20;

class ReplicatedEngine final : public StepEngine {
 public:
  ReplicatedEngine(TaskModel& model, Communicator& comm, const UpdateOptions& update, bool exact, FlatParams params)
      : StepEngine(model, comm, update, params, {{0, params.layout().numel}}, false),
        op_(exact ? ReduceOp::kTreeSum : ReduceOp::kSum), gradient_(booked(comm.allocate(layout().numel, at::kFloat), Purpose::kGradients)),
        sum_(layout(), gradient_, exact, table()) {
    if (table() && comm.size() > 1) exchange_.emplace(comm, *table(), op_);
    cut_buckets();
  }

  StateDict state() override { return state_of(ShardPlan(layout().numel, comm_.size()).owned(comm_.rank())); }
  StateDict targets() override { return state_of(optimizer_.owned()); }

 private:
  bool is_table(size_t tensor) const { return table() && table()->tensor == tensor; }

  /// Consecutive tensors of the layout are reduced together; the table is by itself.
  void cut_buckets() {
    const auto& tensors = layout().tensors;
    std::vector<std::pair<size_t, size_t>> buckets_of;
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (i == 0 || buckets_.back().numel() >= kBucket || is_table(i) || is_table(i - 1)) buckets_.push_back({tensors[i].offset, tensors[i].offset});
      buckets_.back().last = i + 1 < tensors.size() ? tensors[i + 1].offset : layout().numel;
      buckets_of.emplace_back(buckets_.size() - 1, buckets_.size());
    }
    set_buckets(std::move(buckets_of), buckets_.size());
  }

  void begin_leaves() override { sum_.begin(shape().present, first_trained()); }
  void add_gradient(size_t tensor, const at::Tensor& gradient) override { sum_.add(tensor, gradient); }
  void finish_leaf() override { sum_.finish_leaf(); }
  Work reduce(size_t bucket) override {
    const auto& b = buckets_[bucket];
    if (table() && b.first == table()->offset) return {};
    return comm_.all_reduce(gradient_.narrow(0, b.first, b.numel()), op_);
  }

  void reduce_rest() override {
    if (!exchange_ || first_trained() > table()->tensor) return;
    const auto row = [values = gradient_.data_ptr<float>() + table()->offset, columns = table()->columns](int64_t r) { return values + r * columns; };
    sum_.also_touched(exchange_->reduce({sum_.touched(), shape().present == 0, row},
                                        [&](int64_t r, const float* sum) { std::copy_n(sum, table()->columns, row(r)); }));
  }

  std::vector<GradientPiece> gradients() override { return {gradient_}; }
  void forget_quiet_rows() override { sum_.all_touched(); }
  QuietRows quiet_rows() const override { return table() ? QuietRows{*table(), &sum_.touched()} : QuietRows{}; }

  /// Every rank sums its share of the blocks.
  void add_squares(const at::Tensor& squares) override {
    const int64_t blocks = squares.numel(), size = comm_.size(), rank = comm_.rank();
    const int64_t first = rank * blocks / size, last = (rank + 1) * blocks / size;
    const Range part{std::min(first * kNormBlock, layout().numel), std::min(last * kNormBlock, layout().numel)};
    block_sums(gradient_.narrow(0, part.first, part.numel()), part.first, squares.narrow(0, first, last - first), quiet_rows());
  }

  void hand_out(size_t) override {}

  ReduceOp op_;
  at::Tensor gradient_;
  LeafSum sum_;
  std::optional<TableExchange> exchange_;
  std::vector<Range> buckets_;
};

}  // namespace

std::unique_ptr<Engine> make_replicated_engine(TaskModel& model, Communicator& comm, const OptimizerSection& optimizer, bool exact,
                                               double l2_start, bool offload) {
  if (comm.size() == 1 && model.parameters()[0].value.is_cpu()) return make_sharded_engine(model, comm, optimizer, 1, exact, l2_start, offload);
  const Booking booking(Purpose::kGradients);
  const UpdateOptions update{optimizer, l2_start, model.config().layers, offload};
  return std::make_unique<ReplicatedEngine>(model, comm, update, exact, FlatParams(trainable(model)));
}

}  // namespace fmtrain
