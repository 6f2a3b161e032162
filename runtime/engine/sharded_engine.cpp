// ZeRO stages 1 to 3 over the flat layout. Every rank owns a piece of every bucket: it keeps the optimizer state of its pieces,
// receives their reduced gradient, updates their parameters and hands these out.
//   stage 1: the gradient is whole on every rank until it is reduced, or read, as bf16 as far as it comes so (leaf_window.h)
//   stage 2: with one leaf a rank, a bucket's gradient exists only from backward to its reduction
//   stage 3: as 2; parameters lie once in memory that the ranks of a node share (in every stage here, where ranks share memory)
#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "runtime/engine/leaf_sum.h"
#include "runtime/engine/leaf_window.h"
#include "runtime/engine/part_updates.h"
#include "runtime/engine/shard_plan.h"
#include "runtime/engine/step_engine.h"
#include "runtime/engine/touched_rows.h"
#include "runtime/ledger.h"

namespace fmtrain {
namespace {

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

/// Of this rank among those that allocate_shared gives the same bytes.
int number_of_sharer(const Communicator& comm) {
  const auto nodes = comm.nodes();
  const auto own = nodes.begin() + comm.rank();
  return comm.sharers() == 1 ? 0 : static_cast<int>(std::count(nodes.begin(), own, *own));
}

class ShardedEngine final : public StepEngine {
 public:
  ShardedEngine(TaskModel& model, const ShardGroups& groups, const UpdateOptions& update, int stage, bool exact, const ShardPlan& plan,
                FlatParams params)
      : StepEngine(model, groups.world(), update, std::move(params), plan.owned(groups.within().rank()), &groups.within()), groups_(groups),
        rank_(groups.within().rank()), stage_(stage), exact_(exact), plan_(plan), sends_bf16_(trainable_in_bf16(model)) {
    std::vector<std::pair<size_t, size_t>> buckets_of;
    for (size_t t = 0; t < layout().tensors.size(); ++t) {
      buckets_of.emplace_back(plan_.buckets(), 0);
      each_bucket(t, [&](size_t b, Range) { buckets_of[t] = {std::min(buckets_of[t].first, b), b + 1}; });
    }
    set_buckets(std::move(buckets_of), plan_.buckets());
    if (!table()) return;
    exchange_.emplace(comm_, *table(), op());
    touched_ = RowSet(table()->rows);
  }

  StateDict state() override {
    std::vector<Range> once;
    for (size_t b = 0; b < plan_.buckets(); ++b) once.push_back(share(b));
    return state_of(once);
  }
  StateDict targets() override { return state_of(optimizer_.owned()); }

 private:
  Range owned(size_t b) const { return plan_.owned(b, rank_); }
  /// Of what several copies have, this one's part.
  Range share(size_t b) const { return plan_.share(b, rank_, groups_.copy(), groups_.copies()); }
  ReduceOp op() const { return exact_ ? ReduceOp::kTreeSum : ReduceOp::kSum; }
  bool is_table(size_t tensor) const { return table() && table()->tensor == tensor; }

  /// A config has the same number of slots in every step, so memory is made once, by all ranks alike where they share it.
  void begin_leaves() override {
    const bool narrow = std::find(sends_bf16_.begin(), sends_bf16_.end(), true) != sends_bf16_.end();
    const bool one_leaf = shape().slots <= comm_.size();
    by_window_ = stage_ == 1 && one_leaf && narrow && (comm_.size() > 1 || optimizer_.one_pass());  // alone, else, it holds more
    if (by_window_ && !window_) window_.emplace(groups_, layout(), plan_, sends_bf16_, table(), optimizer_.one_pass());
    if (!in_whole() && !shard_.defined()) {
      if (one_leaf && optimizer_.one_pass() && table()) keep_rows();
      const Booking booking(Purpose::kGradients);
      shard_ = at::zeros({shard_offset(written_buckets())}, values().options());
    }
    if (!streams() && !whole_.defined()) make_whole_gradient();
    if (by_window_) window_->begin(shape().present > 0, first_trained());
    else if (sum_) sum_->begin(shape().present, first_trained());
  }

  void finish_leaf() override {
    if (by_window_) window_->finish_leaf();
    else if (!streams()) sum_->finish_leaf();
  }

  void keep_rows() {
    while (first_in_shard_ < plan_.buckets() && plan_.bucket(first_in_shard_).first < table()->range().last) ++first_in_shard_;
    rows_.emplace(*table(), plan_.bucket(first_in_shard_ - 1).last);
  }

  /// Where the piece of a bucket begins in shard_.
  int64_t shard_offset(size_t b) const { return plan_.shard_offset(b) - plan_.shard_offset(first_in_shard_); }

  /// The reduced gradient of the written buckets lies in the whole one; else in the shard, and rows_.
  bool in_whole() const { return stage_ == 1 && !by_window_; }
  /// The others are read from the window.
  size_t written_buckets() const { return by_window_ ? window_->written_buckets() : plan_.buckets(); }

  /// One leaf (or none) whose gradients go from backward into the window, or in stages 2 and 3 into the buckets' own memory.
  bool streams() const { return by_window_ || (stage_ > 1 && shape().present <= 1); }

  void make_whole_gradient() {
    const Booking booking(Purpose::kGradients);
    whole_ = stage_ == 1 ? booked(groups_.within().allocate(plan_.padded(), at::kFloat), Purpose::kGradients) : at::zeros({plan_.padded()}, values().options());
    sum_ = std::make_unique<LeafSum>(layout(), whole_.narrow(0, 0, layout().numel), exact_, table());
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

  void add_gradient(size_t t, const at::Tensor& gradient) override {
    if (by_window_ && !is_table(t)) window_->add(t, gradient);
    if (!streams()) sum_->add(t, gradient);
  }

  at::Tensor place_for(size_t t) const override { return by_window_ ? window_->place_for(t) : at::Tensor(); }

  void add_part(size_t t, size_t b, const at::Tensor& gradient) override {
    const auto& tensor = layout().tensors[t];
    const Range bucket = plan_.bucket(b);
    if (!streams()) return;
    if (is_table(t)) streamed_ = gradient;
    else if (!by_window_) put(b, {std::max(bucket.first, tensor.offset), std::min(bucket.last, tensor.offset + tensor.numel)}, gradient, tensor.offset);
  }

  at::Tensor& bucket_memory(size_t b) {
    auto& memory = live_[b];
    const Booking booking(Purpose::kGradients);
    // -0.0: x + -0.0 == x also where x is -0.0, as for a rank without a leaf
    if (!memory.defined()) memory = at::full({plan_.bucket(b).numel()}, shape().present == 0 ? -0.0 : 0.0, values().options());
    return memory;
  }

  void put(size_t b, Range part, const at::Tensor& gradient, int64_t tensor_offset) {
    const auto to = bucket_memory(b).narrow(0, part.first - plan_.bucket(b).first, part.numel());
    const Range inside{part.first - tensor_offset, part.last - tensor_offset};
    if (gradient.is_sparse()) put_rows(to, gradient, inside);
    else to.copy_(gradient.reshape(-1).narrow(0, inside.first, inside.numel()));
  }

  Work reduce(size_t b) override {
    const Range bucket = plan_.bucket(b), piece = plan_.piece(b, rank_);
    if (by_window_ && (b < first_in_shard_ || b >= written_buckets())) return {};
    if (by_window_) return window_->reduce(b, shard_.narrow(0, shard_offset(b), piece.numel()), op());
    if (table() && bucket.first < table()->range().last && bucket.last > table()->range().first) return reduce_beside_table(b);
    if (stage_ == 1)
      return groups_.reduce_scatter(whole_.narrow(0, piece.first, piece.numel()), whole_.narrow(0, bucket.first, bucket.numel()), op());
    const auto full = streams() ? bucket_memory(b) : whole_.narrow(0, bucket.first, bucket.numel());
    groups_.reduce_scatter(shard_.narrow(0, shard_offset(b), piece.numel()), full, op()).wait();
    live_.erase(b);
    return {};
  }

  /// What the bucket has beside the table goes to every rank, for the table cuts no even pieces.
  Work reduce_beside_table(size_t b) {
    const Range bucket = plan_.bucket(b), rows = table()->range();
    const bool live = stage_ > 1 && streams();
    for (const Range side : {Range{bucket.first, std::min(bucket.last, rows.first)}, Range{std::max(bucket.first, rows.last), bucket.last}}) {
      if (side.numel() <= 0) continue;
      const auto memory = live ? bucket_memory(b) : whole_;
      const auto values = memory.narrow(0, side.first - (live ? bucket.first : 0), side.numel());
      comm_.all_reduce(values, op()).wait();
      if (stage_ > 1) put_owned(side, values.data_ptr<float>());
    }
    live_.erase(b);
    return {};
  }

  /// Calls use(part, memory) for what this rank's written gradient has of a range of the layout, but for what rows_ has.
  template <class Use>
  void each_owned(Range range, const Use& use) const {
    for (size_t b = in_whole() ? 0 : first_in_shard_; b < written_buckets(); ++b) {
      const Range mine = owned(b);
      const Range part{std::max(mine.first, range.first), std::min(mine.last, range.last)};
      if (part.first >= part.last) continue;
      const auto& memory = in_whole() ? whole_ : shard_;
      use(part, memory.data_ptr<float>() + (in_whole() ? part.first : shard_offset(b) + part.first - mine.first));
    }
  }

  /// Into this rank's reduced gradient, as far as it owns the range; not the table's.
  void put_owned(Range range, const float* sums) {
    if (in_rows(range.first)) rows_->put_behind({range.first, std::min(range.last, rows_->last())}, sums);
    each_owned(range, [&](Range part, float* memory) { std::copy_n(sums + part.first - range.first, part.numel(), memory); });
  }

  bool in_rows(int64_t element) const { return rows_ && !in_whole() && element < rows_->last(); }

  void put_row(int64_t r, const float* sum) {
    const Range row = table()->row(r);
    if (!in_rows(row.first)) return put_owned(row, sum);
    for (size_t b = 0; b < first_in_shard_; ++b) {
      const Range mine = owned(b);
      if (mine.first < row.last && row.first < mine.last) return rows_->put_row(r, sum);
    }
  }

  void clear_rows() {
    if (rows_) return rows_->clear();
    for (const int64_t r : touched_.list()) each_owned(table()->row(r), [](Range part, float* memory) { std::fill_n(memory, part.numel(), 0.0f); });
  }

  void reduce_rest() override {
    if (by_window_) window_->reduce_rest(op(), [&](Range range, const float* sums) { put_owned(range, sums); });
    if (!table() || first_trained() > table()->tensor) return;
    const Table& t = *table();
    if (!in_whole()) clear_rows();
    const auto write = [&](int64_t r, const float* sum) { put_row(r, sum); };
    const bool no_leaf = shape().present == 0;
    if (streams()) {
      const StreamedRows mine(t, std::exchange(streamed_, {}));
      touched_ = exchange_->reduce({mine.rows(), no_leaf, [&](int64_t r) { return mine.values(r); }}, write);
      return;
    }
    const auto row = [values = whole_.data_ptr<float>() + t.offset, columns = t.columns](int64_t r) { return values + r * columns; };
    touched_ = exchange_->reduce({sum_->touched(), no_leaf, row}, write);
    if (in_whole()) sum_->also_touched(touched_);
  }

  std::vector<GradientPiece> gradients() override {
    std::vector<GradientPiece> parts;
    for (size_t b = 0; b < plan_.buckets(); ++b) {
      const Range mine = owned(b);
      if (b >= written_buckets()) parts.emplace_back(*window_, mine);
      else if (in_whole()) parts.emplace_back(whole_.narrow(0, mine.first, mine.numel()));
      else if (b < first_in_shard_) parts.emplace_back(*rows_, mine);
      else parts.emplace_back(shard_.narrow(0, shard_offset(b), mine.numel()));
    }
    return parts;
  }

  QuietRows quiet_rows() const override { return table() ? QuietRows{*table(), &touched_} : QuietRows{}; }
  void forget_quiet_rows() override {
    touched_.insert_all();
    if (sum_) sum_->all_touched();
  }

  void add_squares(const at::Tensor& squares) override {
    const auto parts = gradients();
    for (size_t b = 0; b < parts.size(); ++b) {
      const Range mine = share(b);
      const auto part = parts[b].narrow(mine.first - owned(b).first, mine.numel());
      block_sums(part, mine.first, squares.narrow(0, mine.first / kNormBlock, norm_blocks(mine)), quiet_rows());
    }
  }

  void hand_out(size_t first_bucket) override {
    std::vector<Work> works;
    for (size_t b = first_bucket; b < plan_.buckets(); ++b) {
      const Range bucket = plan_.bucket(b), piece = plan_.piece(b, rank_);
      works.push_back(groups_.within().all_gather(values().narrow(0, bucket.first, bucket.numel()), values().narrow(0, piece.first, piece.numel())));
    }
    for (auto& work : works) work.wait();
  }

  ShardGroups groups_;
  int rank_;  ///< within
  int stage_;
  bool exact_;
  ShardPlan plan_;
  std::vector<bool> sends_bf16_;        ///< of each tensor, the model
  bool by_window_ = false;              ///< stage 1 with at most one leaf a rank, of bf16 gradients
  std::optional<LeafWindow> window_;
  at::Tensor whole_;                    ///< gradient of the whole layout, padded; else in stage 1, or more than one leaf
  at::Tensor shard_;                    ///< where the reduced gradient is not in whole_: of this rank's pieces of written buckets
  std::optional<TouchedRows> rows_;       ///< of the buckets that have some of the table, if the update reads all once
  size_t first_in_shard_ = 0;           ///< bucket: those before are in rows_
  std::unique_ptr<LeafSum> sum_;        ///< into whole_
  std::optional<TableExchange> exchange_;
  RowSet touched_;                      ///< rows of the table that this rank's reduced gradient has
  at::Tensor streamed_;                 ///< of a leaf that streams: the table's gradient, until it is exchanged
  std::map<size_t, at::Tensor> live_;   ///< stages 2, 3: buckets between backward and reduction
};

}  // namespace

std::unique_ptr<Engine> make_sharded_engine(TaskModel& model, const ShardGroups& groups, const OptimizerSection& optimizer, int stage, bool exact,
                                            double l2_start, bool offload, const EncoderFill& fill) {
  TORCH_CHECK(stage >= 1 && stage <= 3, "ZeRO stage ", stage);
  Communicator& comm = groups.within();
  if (comm.size() == 1) stage = 1;  // they differ in what ranks share out
  const auto parameters = trainable(model);
  const auto layout = make_layout(parameters);
  const auto table = table_of(layout);
  const ShardPlan plan(layout.numel, comm.size(), table ? table->range().last : 0, bucket_numel(stage, layout.numel));  // the table is exchanged by rows
  const Booking booking(Purpose::kParameters);
  FlatParams params(parameters, booked(comm.allocate_shared(plan.padded(), at::kFloat), Purpose::kParameters, comm.sharers()), !fill);
  if (fill) fill(number_of_sharer(comm), comm.sharers());
  comm.barrier();  // all have put the same values into the memory they share, or their share of them
  const UpdateOptions update{optimizer, l2_start, model.config().layers, offload};
  return std::make_unique<ShardedEngine>(model, groups, update, stage, exact, plan, std::move(params));
}

}  // namespace fmtrain
