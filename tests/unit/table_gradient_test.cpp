// The word table's gradient: rows that no token names are neither sent nor read, and the bits are those of a dense gradient.
#include <gtest/gtest.h>
#include <ATen/ATen.h>

#include <cstring>
#include <mutex>

#include "comm/thread_communicator.h"
#include "runtime/data/plan.h"
#include "runtime/engine/leaf_sum.h"
#include "runtime/engine/part_updates.h"
#include "tests/support/small_training.h"

namespace fmtrain {
namespace {

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.nbytes() == b.nbytes() && std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

TEST(RowSet, FindsItsRows) {
  RowSet set(130);
  for (const int64_t row : {0, 63, 64, 129}) set.insert(row);
  EXPECT_EQ(set.list(), (std::vector<int64_t>{0, 63, 64, 129}));
  EXPECT_TRUE(set.has_any(60, 64));
  EXPECT_FALSE(set.has_any(1, 63));
  EXPECT_FALSE(set.has_any(65, 129));
  EXPECT_TRUE(set.has_any(65, 130));
  EXPECT_FALSE(set.has_any(64, 64));
  RowSet all(130), other(130);
  all.insert_all();
  EXPECT_EQ(all.list().size(), 130u);
  other.insert(5);
  set.unite(other);
  EXPECT_EQ(set.list(), (std::vector<int64_t>{0, 5, 63, 64, 129}));
  set.clear();
  EXPECT_FALSE(set.has_any(0, 130));
}

std::vector<NamedParameter> with_table() {
  return {{"bert.embeddings.word_embeddings.weight", at::zeros({90, 12}), true}, {"a.weight", at::zeros({70, 33}), true}};
}

at::Tensor some_rows(int leaf) {
  const auto indices = (at::arange(9, at::kLong) * 7 + leaf * 5) % 23 + (leaf % 2) * 40;  // some twice, few of all
  return at::sparse_coo_tensor(indices.unsqueeze(0), at::randn({9, 12}), {90, 12});
}

TEST(LeafSum, OfATableHasTheBitsOfDenseGradients) {
  const auto layout = make_layout(with_table());
  for (int64_t leaves = 1; leaves <= 8; ++leaves) {
    const auto rows = at::full({layout.numel}, 99.f), dense = at::full({layout.numel}, 99.f);
    LeafSum by_rows(layout, rows, true, table_of(layout)), whole(layout, dense, true);
    at::manual_seed(leaves);
    for (int step = 0; step < 3; ++step) {
      by_rows.begin(leaves);
      whole.begin(leaves);
      for (int64_t leaf = 0; leaf < leaves; ++leaf) {
        const auto words = some_rows(static_cast<int>(leaf) + step), other = at::randn({70, 33});
        for (auto* sum : {&by_rows, &whole}) {
          if (leaf != 1) sum->add(0, sum == &whole ? words.to_dense() : words);  // one leaf has no gradient of the table
          sum->add(1, other);
          sum->finish_leaf();
        }
      }
      EXPECT_TRUE(same_bits(rows.narrow(0, 0, 90 * 12), dense.narrow(0, 0, 90 * 12) + 0.0)) << leaves;
      const auto touched = by_rows.touched().list();
      EXPECT_LT(touched.size(), 60u);
      for (int64_t row = 0; row < 90; ++row)
        EXPECT_TRUE(by_rows.touched().has_any(row, row + 1) || same_bits(rows.narrow(0, row * 12, 12), at::zeros({12}))) << row;
    }
  }
}

TEST(LeafSum, WidensBf16WhileItAdds) {
  const auto layout = make_layout(with_table());
  const auto low = at::zeros({layout.numel}), full = at::zeros({layout.numel});
  LeafSum of_low(layout, low, true, table_of(layout)), of_full(layout, full, true, table_of(layout));
  of_low.begin(3);
  of_full.begin(3);
  at::manual_seed(9);
  for (int leaf = 0; leaf < 3; ++leaf) {
    const auto gradient = at::randn({70, 33}).to(at::kBFloat16), words = some_rows(leaf).to(at::kBFloat16);
    of_low.add(0, words);
    of_low.add(1, gradient);
    of_full.add(0, words.to(at::kFloat));
    of_full.add(1, gradient.to(at::kFloat));
    of_low.finish_leaf();
    of_full.finish_leaf();
  }
  EXPECT_TRUE(same_bits(low, full));
  EXPECT_GT(low.abs().sum().item<double>(), 0);
}

TEST(QuietRows, CoverWhatNoRowTouches) {
  RowSet touched(10);
  touched.insert(4);
  const QuietRows quiet{{0, 100, 10, 8}, &touched};
  EXPECT_TRUE(quiet.cover({100, 132}));
  EXPECT_FALSE(quiet.cover({100, 133}));
  EXPECT_FALSE(quiet.cover({139, 150}));
  EXPECT_TRUE(quiet.cover({140, 180}));
  EXPECT_FALSE(quiet.cover({140, 181}));
  EXPECT_FALSE(quiet.cover({99, 101}));
  EXPECT_FALSE(QuietRows{}.cover({0, 1}));
}

TEST(QuietRows, AreNotRead) {
  RowSet touched(1000);
  touched.insert(500);
  const QuietRows quiet{{0, 0, 1000, 16}, &touched};
  const auto zero = at::zeros({16000});
  zero.narrow(0, 8000, 16).fill_(0.25);
  auto planted = zero.clone();
  planted.narrow(0, 0, 2048).fill_(7);  // would be seen
  const auto sums = [&](const at::Tensor& gradient, const QuietRows& q) {
    const auto out = at::zeros({4}, at::kDouble);
    block_sums(gradient, 0, out, q);
    return out;
  };
  EXPECT_TRUE(at::equal(sums(zero, {}), sums(zero, quiet)));
  EXPECT_FALSE(at::equal(sums(planted, {}), sums(zero, {})));
  const auto updated = [&](const at::Tensor& gradient, const QuietRows& q) {
    at::manual_seed(1);
    const auto p = at::randn({16000}), m = at::randn({16000}), v = at::rand({16000});
    update_by_adamw(adamw_update(1e-2, 0.1, 0.9, 0.999, 1e-8, 0.5, 3), p, gradient, m, v, 0, q);
    return at::cat({p, m, v});
  };
  EXPECT_TRUE(same_bits(updated(zero, {}), updated(zero, quiet)));
  EXPECT_TRUE(same_bits(updated(planted, quiet), updated(zero, {})));
}

/// Rows without moments: the bits of the whole update, without their moments being looked at.
TEST(QuietRows, AsleepAreDecayedOnly) {
  RowSet touched(1000), awake(1000);
  touched.insert(500);
  for (const int64_t row : {0, 499, 500, 501, 999}) awake.insert(row);
  const QuietRows quiet{{0, 32, 1000, 16}, &touched, &awake};
  at::manual_seed(2);
  const auto start = at::randn({16064}), gradient = at::zeros({16064});
  auto m = at::randn({16064}), v = at::rand({16064});
  gradient.narrow(0, 0, 32).fill_(0.5), gradient.narrow(0, 32 + 500 * 16, 16).fill_(0.25), gradient.narrow(0, 16032, 32).fill_(-1);  // beside the table as well
  for (int64_t row = 0; row < 1000; ++row)
    if (!awake.has(row)) m.narrow(0, 32 + row * 16, 16).zero_(), v.narrow(0, 32 + row * 16, 16).zero_();
  const auto updated = [&](const QuietRows& q, bool planted, int64_t first, int64_t numel) {
    const auto part = [&](const at::Tensor& t) { return t.narrow(0, first, numel).clone(); };
    const auto p = part(start), mine = part(m), squares = part(v);
    if (planted)
      for (int64_t i = 0; i < numel; ++i)
        if (const int64_t at = first + i - 32; at >= 0 && at < 16000 && !awake.has(at / 16)) mine[i] = 1e9;  // would be seen
    update_by_adamw(adamw_update(1e-2, 0.1, 0.9, 0.999, 1e-8, 0.5, 3), p, part(gradient), mine, squares, first, q);
    return p;
  };
  for (const auto& [first, numel] : {std::pair<int64_t, int64_t>{0, 16064}, {7, 16000}, {8020, 333}, {40, 3}}) {
    EXPECT_TRUE(same_bits(updated({}, false, first, numel), updated(quiet, true, first, numel))) << first;
    EXPECT_TRUE(numel < 1000 || !same_bits(updated({}, true, first, numel), updated({}, false, first, numel))) << first;
  }
}

/// Counts the bytes that a rank's collectives are given.
class Counting final : public Communicator {
 public:
  explicit Counting(Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  int sharers() const override { return inner_.sharers(); }
  std::vector<int> nodes() const override { return inner_.nodes(); }
  Communicator& split(int color, Group group) override { return inner_.split(color, group); }
  at::Tensor allocate(int64_t numel, at::ScalarType dtype) override { return inner_.allocate(numel, dtype); }
  at::Tensor allocate_shared(int64_t numel, at::ScalarType dtype) override { return inner_.allocate_shared(numel, dtype); }
  Work all_reduce(at::Tensor buffer, ReduceOp op) override { return reduced += buffer.nbytes(), inner_.all_reduce(buffer, op); }
  Work reduce_scatter(at::Tensor shard, at::Tensor full, ReduceOp op) override {
    reduced += full.nbytes();
    return inner_.reduce_scatter(shard, full, op);
  }
  Work all_gather(at::Tensor full, at::Tensor shard) override { return gathered += full.nbytes(), inner_.all_gather(full, shard); }
  Work broadcast(at::Tensor buffer, int root) override { return inner_.broadcast(buffer, root); }
  void barrier() override { inner_.barrier(); }
  size_t reduced = 0, gathered = 0;

 private:
  Communicator& inner_;
};

/// Bytes reduced in one step of a model with a table of 70,000 rows, of which two leaves name some 20.
size_t reduced_in_a_step(int stage, int64_t slots) {
  size_t reduced = 0;
  std::mutex mutex;
  run_ranks(2, [&](Communicator& comm) {
    auto config = small_bert();
    config.vocab_size = 70'000;
    config.hidden_size = 64;
    const auto model = make_bert(config, 7);
    Counting counting(comm);
    const auto engine = engine_of(Case{stage, 2}, *model, counting);
    for (int64_t step = 0; step < 2; ++step) {
      counting.reduced = 0;
      const auto [first, last] = leaves_of(comm.rank(), comm.size(), slots);
      engine->begin_step({slots, first, last - first, 40.0});
      for (int64_t slot = first; slot < last; ++slot) engine->backward(model->loss(leaf(step, slot), {true, 3, step}), slot + 1 == last);
      EXPECT_TRUE(engine->step(1e-2, false).applied);
    }
    const std::lock_guard lock(mutex);
    reduced = std::max(reduced, counting.reduced);
  });
  return reduced;
}

TEST(TableExchange, SendsTheTouchedRowsOnly) {
  size_t others = 0;
  {
    auto config = small_bert();
    config.vocab_size = 70'000;
    config.hidden_size = 64;
    const auto model = make_bert(config, 7);
    for (const auto& p : model->parameters())
      if (!p.name.ends_with("word_embeddings.weight")) others += p.value.nbytes() + 64;
  }
  for (const int stage : {0, 1, 2, 3})
    for (const int64_t slots : {2, 4}) {
      const size_t reduced = reduced_in_a_step(stage, slots);
      EXPECT_LT(reduced, others + (200 << 10)) << "stage " << stage << " of " << (size_t{70'000} * 64 * 4);
      EXPECT_GT(reduced, others / 2) << stage;
    }
}

/// More rows than are exchanged at a time, and a dense gradient.
TEST(TableExchange, TakesAllRowsInPieces) {
  const Table table{0, 0, 5000, 384};
  std::vector<at::Tensor> sums(3);
  run_ranks(3, [&](Communicator& comm) {
    TableExchange exchange(comm, table, ReduceOp::kTreeSum);
    RowSet rows(table.rows);
    if (comm.rank() != 1) rows.insert_all();
    const auto mine = at::arange(table.rows * table.columns, at::kFloat) * (comm.rank() == 0 ? 1.0 : 0.5);
    const auto sum = at::zeros_like(mine);
    const auto& touched = exchange.reduce({rows, comm.rank() == 1, [&](int64_t r) { return mine.const_data_ptr<float>() + r * table.columns; }},
                                          [&](int64_t r, const float* values) { std::copy_n(values, table.columns, sum.data_ptr<float>() + r * table.columns); });
    EXPECT_EQ(touched.list().size(), 5000u);
    sums[static_cast<size_t>(comm.rank())] = sum;
  });
  for (const auto& sum : sums) EXPECT_TRUE(at::equal(sum, at::arange(table.rows * table.columns, at::kFloat) * 1.5));
}

}  // namespace
}  // namespace fmtrain
