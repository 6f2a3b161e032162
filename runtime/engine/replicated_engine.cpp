#include <ATen/ATen.h>

#include "runtime/engine/leaf_sum.h"
#include "runtime/engine/leaf_window.h"
#include "runtime/engine/part_updates.h"
#include "runtime/engine/step_engine.h"
#include "runtime/engine/touched_rows.h"
#include "runtime/ledger.h"

namespace fmtrain {
namespace {

/// The sums over ranks of single leaves with bf16 gradients, which every rank makes when it reads them: no sum stands in memory, but of
/// the table's rows and of what shares its bucket.
class ReadSums final : public GradientSource {
 public:
  /// Collective; all ranks can read each other's windows.
  ReadSums(Communicator& comm, const FlatLayout& layout, const std::vector<bool>& narrow, const std::optional<Table>& table)
      : plan_(layout.numel, 1, table ? table->range().last : 0), window(comm, layout, plan_, narrow, table, true),
        rows(table.value_or(Table{0, 0, 0, 1}), window.first_element()) {}
  void reduce_rest(ReduceOp op) {
    window.reduce_rest(op, [&](Range range, const float* sums) {
      if (range.first < rows.last()) rows.put_behind({range.first, std::min(range.last, rows.last())}, sums);
    });
  }
  const float* read(Range range, float* room) const override {
    const int64_t cut = window.first_element();
    if (range.first >= cut) return window.read(range, room);
    rows.read({range.first, std::min(range.last, cut)}, room);
    if (range.last <= cut) return room;
    float* behind = room + cut - range.first;
    if (const float* sums = window.read({cut, range.last}, behind); sums != behind) std::copy_n(sums, range.last - cut, behind);
    return room;
  }

 private:
  ShardPlan plan_;

 public:
  LeafWindow window;
  TouchedRows rows;
};

class ReplicatedEngine final : public StepEngine {
 public:
  ReplicatedEngine(TaskModel& model, Communicator& comm, const UpdateOptions& update, bool exact, FlatParams params)
      : StepEngine(model, comm, update, params, {{0, params.layout().numel}}), exact_(exact), op_(exact ? ReduceOp::kTreeSum : ReduceOp::kSum),
        sends_bf16_(trainable_in_bf16(model)) {
    const bool some = std::find(sends_bf16_.begin(), sends_bf16_.end(), true) != sends_bf16_.end();
    const bool behind_table = !table() || table()->offset == 0;
    can_read_ = comm.size() > 1 && some && behind_table && optimizer_.one_pass() && !comm.of_all_ranks(comm.allocate(1, at::kFloat)).empty();
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
    const auto full = bucket_numel(0, layout().numel);
    std::vector<std::pair<size_t, size_t>> buckets_of;
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (i == 0 || buckets_.back().numel() >= full || is_table(i) || is_table(i - 1)) buckets_.push_back({tensors[i].offset, tensors[i].offset});
      buckets_.back().last = i + 1 < tensors.size() ? tensors[i + 1].offset : layout().numel;
      buckets_of.emplace_back(buckets_.size() - 1, buckets_.size());
    }
    set_buckets(std::move(buckets_of), buckets_.size());
  }

  /// A config has the same number of slots in every step, so memory is made once.
  void begin_leaves() override {
    by_reading_ = can_read_ && shape().slots <= comm_.size();
    if (by_reading_) {
      if (!read_) read_.emplace(comm_, layout(), sends_bf16_, table());
      return read_->window.begin(shape().present > 0, first_trained());
    }
    if (!sum_) {
      const Booking booking(Purpose::kGradients);
      gradient_ = booked(comm_.allocate(layout().numel, at::kFloat), Purpose::kGradients);
      sum_.emplace(layout(), gradient_, exact_, table());
    }
    sum_->begin(shape().present, first_trained());
  }

  void add_gradient(size_t tensor, const at::Tensor& gradient) override {
    if (!by_reading_) sum_->add(tensor, gradient);
    else if (is_table(tensor)) streamed_ = gradient;
    else read_->window.add(tensor, gradient);
  }

  at::Tensor place_for(size_t tensor) const override { return by_reading_ ? read_->window.place_for(tensor) : at::Tensor(); }

  void finish_leaf() override {
    if (by_reading_) read_->window.finish_leaf();
    else sum_->finish_leaf();
  }

  Work reduce(size_t bucket) override {
    const auto& b = buckets_[bucket];
    if (by_reading_ || (table() && b.first == table()->offset)) return {};
    return comm_.all_reduce(gradient_.narrow(0, b.first, b.numel()), op_);
  }

  void reduce_rest() override {
    if (by_reading_) read_->reduce_rest(op_);
    if (!exchange_ || first_trained() > table()->tensor) return;
    const bool no_leaf = shape().present == 0;
    if (by_reading_) {
      read_->rows.clear();
      const StreamedRows mine(*table(), std::exchange(streamed_, {}));
      const auto put = [&](int64_t r, const float* sum) { read_->rows.put_row(r, sum); };
      touched_ = exchange_->reduce({mine.rows(), no_leaf, [&](int64_t r) { return mine.values(r); }}, put);
      return;
    }
    const auto row = [values = gradient_.data_ptr<float>() + table()->offset, columns = table()->columns](int64_t r) { return values + r * columns; };
    sum_->also_touched(exchange_->reduce({sum_->touched(), no_leaf, row},
                                         [&](int64_t r, const float* sum) { std::copy_n(sum, table()->columns, row(r)); }));
  }

  std::vector<GradientPiece> gradients() override {
    if (by_reading_) return {GradientPiece(*read_, {0, layout().numel})};
    return {gradient_};
  }
  void forget_quiet_rows() override { sum_->all_touched(); }
  QuietRows quiet_rows() const override {
    if (!table()) return {};
    return {*table(), by_reading_ ? &touched_ : &sum_->touched()};
  }

  /// Every rank sums its share of the blocks.
  void add_squares(const at::Tensor& squares) override {
    const int64_t blocks = squares.numel(), size = comm_.size(), rank = comm_.rank();
    const int64_t first = rank * blocks / size, last = (rank + 1) * blocks / size;
    const Range part{std::min(first * kNormBlock, layout().numel), std::min(last * kNormBlock, layout().numel)};
    block_sums(gradients()[0].narrow(part.first, part.numel()), part.first, squares.narrow(0, first, last - first), quiet_rows());
  }

  /// Parameters are everywhere, but the next step's gradients must not come into windows that others still read.
  void hand_out(size_t) override {
    if (by_reading_) comm_.barrier();
  }

  bool exact_;
  ReduceOp op_;
  std::vector<bool> sends_bf16_;       ///< of each tensor, the model
  bool can_read_ = false;              ///< what other ranks have in memory of the communicator
  bool by_reading_ = false;            ///< then, and at most one leaf a rank
  std::optional<ReadSums> read_;
  at::Tensor gradient_, streamed_;     ///< else: fp32, the layout; the leaf's gradient of the table until it is exchanged
  std::optional<LeafSum> sum_;         ///< into gradient_
  std::optional<TableExchange> exchange_;
  RowSet touched_;                     ///< rows of the table in read_
  std::vector<Range> buckets_;
};

}  // namespace

std::unique_ptr<Engine> make_replicated_engine(TaskModel& model, Communicator& comm, const OptimizerSection& optimizer, bool exact,
                                               double l2_start, bool offload, const EncoderFill& fill) {
  if (comm.size() == 1 && model.parameters()[0].value.is_cpu()) return make_sharded_engine(model, comm, optimizer, 1, exact, l2_start, offload, fill);
  const Booking booking(Purpose::kGradients);
  const UpdateOptions update{optimizer, l2_start, model.config().layers, offload};
  FlatParams params(trainable(model), {}, !fill);
  if (fill) fill(0, 1);
  return std::make_unique<ReplicatedEngine>(model, comm, update, exact, std::move(params));
}

}  // namespace fmtrain
