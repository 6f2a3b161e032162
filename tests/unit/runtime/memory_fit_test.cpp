// Predicted memory beside what the ledger counts, and advice that holds.
#include "runtime/memory_fit.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <torch/autograd.h>

#include "models/ops/linear.h"
#include "models/ops/product.h"
#include "runtime/engine/flat_params.h"
#include "runtime/engine/gradient_hooks.h"
#include "runtime/engine/leaf_sum.h"
#include "runtime/ledger.h"

namespace fmtrain {
namespace {

constexpr int64_t kMiB = 1 << 20;

/// BERT-base on leaves of `micro` samples of 100 tokens.
MemoryNeeds base(int ranks) {
  MemoryNeeds n;
  n.shape.hidden_size = 768;
  n.shape.layers = n.shape.heads = 12;
  n.shape.intermediate_size = 3072;
  n.shape.labels = 13;
  n.trained = 108'901'645;
  n.trained_layers = 12;
  n.global = 32;
  n.ranks = n.ranks_per_node = ranks;
  n.largest_leaf = [](int64_t micro) { return LeafSize{100 * micro, 10000 * micro}; };
  return n;
}

/// What `work` allocates at most, whatever was booked before.
template <class Work>
int64_t peak_of(const Work& work) {
  const auto balance = [] { return ledger()[static_cast<size_t>(Purpose::kActivations)]; };
  const int64_t before = balance().peak, lift = before - balance().now;
  book(Purpose::kActivations, lift);
  work();
  book(Purpose::kActivations, -lift);
  return balance().peak - before;
}

Batch batch_of(const std::vector<int64_t>& lengths, int64_t vocabulary) {
  std::vector<at::Tensor> positions;
  std::vector<int64_t> offsets{0};
  for (const auto length : lengths) {
    positions.push_back(at::arange(length));
    offsets.push_back(offsets.back() + length);
  }
  Batch b;
  b.positions = at::cat(positions);
  b.tokens = at::arange(offsets.back()).remainder(vocabulary);
  b.types = at::zeros_like(b.tokens);
  b.targets = b.tokens.remainder(5);
  b.offsets = at::tensor(offsets);
  b.sample_ids = at::arange(static_cast<int64_t>(lengths.size()));
  b.valid_targets = offsets.back();
  return b;
}

struct Case {
  Precision precision;
  int64_t recompute;
  int64_t samples;
};

class Activations : public testing::TestWithParam<Case> {};

TEST_P(Activations, ArePredictedWithinATenthOfWhatTheLedgerCounts) {
  start_ledger();
  MemoryNeeds n;
  ModelConfig& c = n.shape;
  c.vocab_size = 300;
  c.hidden_size = 128;
  c.layers = n.trained_layers = 4;
  c.heads = 4;
  c.intermediate_size = 512;
  c.max_positions = 128;
  c.labels = 5;
  c.precision = GetParam().precision;
  n.widened = !multiplies(product_type(c.precision));
  c.recompute = GetParam().recompute;
  const std::vector<int64_t> lengths(static_cast<size_t>(GetParam().samples), 48);
  n.largest_leaf = [&](int64_t) { return LeafSize{48 * std::ssize(lengths), 48 * 48 * std::ssize(lengths)}; };
  const auto model = make_bert(c, 1);
  const FlatParams flat(trainable(*model));  // as in a run: weights that one product takes together need no copy
  const Batch batch = batch_of(lengths, c.vocab_size);
  const GradientHooks hooks(*model, [](size_t, const at::Tensor&) {});  // takes each gradient away, as an engine does
  const int64_t measured = peak_of([&] {
    const Booking booking(Purpose::kActivations);
    torch::autograd::backward({model->loss(batch, {true, 1, 0}).sum}, {});
  });
  const auto predicted = predict(n, {0, c.recompute, 1}).activations;
  EXPECT_NEAR(static_cast<double>(predicted) / static_cast<double>(measured), 1, 0.1) << predicted << " predicted, " << measured << " counted";
}

INSTANTIATE_TEST_SUITE_P(All, Activations, testing::Values(Case{Precision::kFp32, 0, 4}, Case{Precision::kFp32, 0, 16}, Case{Precision::kFp32, 1, 16},
                                                           Case{Precision::kFp32, 2, 16}, Case{Precision::kBf16, 0, 4}, Case{Precision::kBf16, 0, 16},
                                                           Case{Precision::kBf16, 1, 16}, Case{Precision::kBf16, 2, 16}),
                         [](const auto& test) {
                           const Case& c = test.param;
                           return std::string(c.precision == Precision::kBf16 ? "bf16" : "fp32") + "_recompute_" + std::to_string(c.recompute) +
                                  "_samples_" + std::to_string(c.samples);
                         });

/// The formulas of docs/training.md.
TEST(MemoryFit, StagesShareOutWhatTheySay) {
  const double p = static_cast<double>(base(4).trained);
  const auto sum = [](const RankMemory& m) { return static_cast<double>(m.parameters + m.gradients + m.buckets + m.optimizer); };
  MemoryNeeds n = base(4);
  EXPECT_NEAR(sum(predict(n, {0, 0, 8})) / (16 * p), 1, 0.001);
  EXPECT_NEAR(sum(predict(n, {1, 0, 8})) / (4 * p + 12 * p / 4), 1, 0.001);
  EXPECT_NEAR(sum(predict(n, {2, 0, 8})) / (16 * p / 4 + p / 8), 1, 0.001);
  MemoryNeeds narrow = n;  // one leaf a rank in bf16: its gradients as they come, and the sums of the rows that its 800 tokens have
  narrow.shape.precision = Precision::kBf16;
  narrow.table = 23'440'896, narrow.products = narrow.trained_products = 84'934'656, narrow.one_pass = true;
  const double others = p - 23'440'896;
  const double arrives = 2 * others + 4 * (others - 84'934'656);
  const auto gradients = [&](int64_t stage) { return static_cast<double>(predict(narrow, {stage, 0, 8}).gradients); };
  const double rows = 4 * 800 * 768;
  EXPECT_NEAR(gradients(1) / (arrives + rows), 1, 0.001);
  EXPECT_NEAR(gradients(0) / (arrives + 4 * rows), 1, 0.001);
  EXPECT_NEAR(gradients(2) / (4 * others / 4 + rows), 1, 0.001);
  narrow.one_node = false;  // sums are written
  EXPECT_NEAR(gradients(1) / (arrives + 4 * others / 4 + rows), 1, 0.001);
  EXPECT_NEAR(gradients(0) / (4 * p), 1, 0.001);
  narrow.one_pass = false;  // SGD, say
  EXPECT_NEAR(gradients(1) / (arrives + 4 * p / 4), 1, 0.001);
  EXPECT_NEAR(gradients(2) / (4 * p / 4), 1, 0.001);
  narrow.one_pass = narrow.one_node = true;
  EXPECT_EQ(predict(narrow, {1, 0, 8}).low_copy, 2 * 84'934'656 / 4);
  EXPECT_EQ(predict(narrow, {0, 0, 8}).low_copy, 2 * 84'934'656);
  EXPECT_EQ(predict(narrow, {1, 0, 4}).gradients, 4 * narrow.trained);  // two leaves a rank
  narrow.trained = narrow.small = 600'000, narrow.frozen = 108'301'645, narrow.trained_products = narrow.table = narrow.trained_layers = 0;  // the head alone
  EXPECT_EQ(predict(narrow, {1, 0, 8}).gradients, 4 * 600'000);
  EXPECT_EQ(predict(narrow, {1, 0, 8}).low_copy, 2 * 84'934'656);  // frozen ones stay where they are
  const auto tokens = static_cast<int64_t>(narrow.largest_leaf(8).tokens);
  EXPECT_GE(predict(narrow, {1, 0, 8}).activations, tokens * 2 * (768 + 3072));  // forward through frozen layers
  n.ranks_per_node = 2;  // parameters are shared inside a machine only
  EXPECT_NEAR(sum(predict(n, {3, 0, 8})) / (4 * p / 2 + 12 * p / 4 + p / 8), 1, 0.001);
  n.gpu = true;
  EXPECT_NEAR(sum(predict(n, {2, 0, 8})) / (4 * p + 12 * p / 4 + p / 8), 1, 0.001);
}

/// engine.shard_group: node, on four hosts of two ranks.
TEST(MemoryFit, ACopyOnEveryHostIsSharedOutByItsRanks) {
  MemoryNeeds n = base(8);
  n.ranks_per_node = 2, n.one_node = false, n.one_pass = true;
  const double p = static_cast<double>(n.trained);
  const auto sum = [](const RankMemory& m) { return static_cast<double>(m.parameters + m.gradients + m.buckets + m.optimizer); };
  const FitSetting node{3, 0, 4, true}, world{3, 0, 4, false};
  EXPECT_NEAR(sum(predict(n, node)) / (16 * p / 2 + p / 8), 1, 0.001);
  EXPECT_NEAR(sum(predict(n, world)) / (4 * p / 2 + 12 * p / 8 + p / 8), 1, 0.001);
  EXPECT_NEAR(sum(predict(n, {1, 0, 4, true})) / (4 * p / 2 + 4 * p + 8 * p / 2), 1, 0.001);
  EXPECT_EQ(predict(n, {0, 0, 4, true}).total(), predict(n, {0, 0, 4, false}).total());
  EXPECT_EQ(predict(n, node).snapshot, predict(n, world).snapshot);  // copies share out what is saved
  MemoryNeeds narrow = n;
  narrow.shape.precision = Precision::kBf16, narrow.products = narrow.trained_products = 84'934'656;
  EXPECT_EQ(predict(narrow, node).low_copy, 84'934'656);
  EXPECT_EQ(predict(narrow, world).low_copy, 2 * 84'934'656);
  const int64_t bytes = predict(n, world).total();
  const auto fitting = settings_that_fit(n, node, bytes);
  ASSERT_FALSE(fitting.empty());
  EXPECT_FALSE(fitting[0].setting.by_node);
  EXPECT_THAT(change_text(node, fitting[0].setting), testing::HasSubstr("engine.shard_group: world"));
  EXPECT_LE(least_memory(n, node), bytes);
  n.ranks_per_node = 8, n.one_node = true;  // one host: one copy
  EXPECT_EQ(predict(n, node).total(), predict(n, world).total());
}

/// Partial sums that LeafSum really holds, for every number of leaves up to 40.
TEST(MemoryFit, PartialSumsAreThoseOfLeafSum) {
  start_ledger();
  MemoryNeeds n = base(1);
  n.trained = 1 << 16;
  const FlatLayout layout{{{"w", {n.trained}, 0, n.trained, true}}, n.trained};
  for (int64_t leaves = 1; leaves <= 40; ++leaves)
    for (const bool exact : {true, false}) {
      n.exact = exact;
      n.global = leaves;
      const auto result = at::zeros({n.trained}), gradient = at::ones({n.trained});
      const auto before = ledger()[static_cast<size_t>(Purpose::kGradients)].now;
      LeafSum sum(layout, result, exact);
      sum.begin(leaves);
      for (int64_t leaf = 0; leaf < leaves; ++leaf) {
        sum.add(0, gradient);
        sum.finish_leaf();
      }
      const auto more = ledger()[static_cast<size_t>(Purpose::kGradients)].now - before;
      EXPECT_EQ(predict(n, {0, 0, 1}).gradients, 4 * n.trained + more) << leaves << (exact ? " exact" : "");
    }
}

TEST(MemoryFit, TheTotalIsTheLargerOfLoadingAndTraining) {
  RankMemory m{.parameters = 1, .low_copy = 2, .gradients = 4, .buckets = 8, .optimizer = 16, .activations = 32, .evaluation = 64, .snapshot = 128,
               .loading = 0, .freed = 63, .reading = 61, .on_host = 5, .process = 1000};
  EXPECT_EQ(m.total(), 1000 + 1 + 2 + 4 + 8 + 16 + 64 + 128);
  m.loading = 10000;
  EXPECT_EQ(m.total(), 11000);
  m.freed = 20000;
  EXPECT_EQ(m.total(), 1000 + 1 + 2 + 4 + 8 + 16 + 128 + 20000);
}

TEST(MemoryFit, WeightsThatAreReadWhereTheyStayTakeNoMore) {
  MemoryNeeds n = base(2);
  const auto apart = predict(n, {3, 0, 16});
  EXPECT_GE(apart.loading, 4 * n.trained);
  n.in_place = true;
  const auto in_place = predict(n, {3, 0, 16});
  EXPECT_EQ(in_place.loading + in_place.freed, 0);
  EXPECT_EQ(in_place.parameters, apart.parameters);
}

/// At every amount of memory: advice fits, changes no key without need, and starts with what costs least.
TEST(MemoryFit, AdviceFitsAndIsTheCheapest) {
  const FitSetting now{0, 0, 16};
  for (const int ranks : {1, 2}) {
    const MemoryNeeds n = base(ranks);
    for (int64_t bytes = 1000 * kMiB; bytes < 4000 * kMiB; bytes += 25 * kMiB) {
      const auto fitting = settings_that_fit(n, now, bytes);
      for (const auto& [setting, total] : fitting) {
        EXPECT_LE(total, bytes);
        EXPECT_EQ(total, predict(n, setting).total());
        EXPECT_TRUE(ranks > 1 || setting.stage == 0) << "nobody to share with";
      }
      EXPECT_EQ(fitting.empty(), least_memory(n, now) > bytes);
      EXPECT_TRUE(predict(n, now).total() > bytes || (fitting.size() == 1 && fitting[0].setting == now));
      const int64_t micro = largest_micro(n, now, bytes);
      EXPECT_TRUE(micro == 0 || predict(n, {0, 0, micro}).total() <= bytes);
      EXPECT_TRUE(micro == 0 || micro == 32 / ranks || predict(n, {0, 0, 2 * micro}).total() > bytes);
    }
  }
}

TEST(MemoryFit, WhatKeepsTheBitsComesFirst) {
  const FitSetting now{0, 0, 16};
  const MemoryNeeds n = base(2);
  const int64_t needed = predict(n, now).total();
  const auto fitting = settings_that_fit(n, now, needed - 100 * kMiB);
  ASSERT_EQ(fitting.size(), 3u);
  EXPECT_EQ(change_text(now, fitting[0].setting), "engine.zero: 1");
  EXPECT_EQ(change_text(now, fitting[1].setting), "engine.recompute: full");
  EXPECT_EQ(change_text(now, fitting[2].setting), "batch.micro: 8");
  EXPECT_THAT(memory_warning(n, now, needed - 100 * kMiB), testing::HasSubstr("; engine.zero: 1 would fit"));
  EXPECT_THAT(memory_warning(n, now, 100 * kMiB), testing::HasSubstr("no setting fits: the least needs"));
  EXPECT_EQ(memory_warning(n, now, needed), "");
  EXPECT_EQ(memory_warning(n, now, 0), "");
  EXPECT_EQ(largest_micro(n, now, 100 * kMiB), 0);
}

/// Below the first trained layer autograd keeps nothing.
TEST(MemoryFit, FrozenLayersKeepNothing) {
  MemoryNeeds n = base(1);
  const auto all = predict(n, {0, 0, 16}).activations;
  n.trained_layers = 6;
  const auto half = predict(n, {0, 0, 16}).activations;
  n.trained_layers = 0;
  EXPECT_LT(half, all * 6 / 10);
  EXPECT_LT(predict(n, {0, 0, 16}).activations, all / 5);
}

}  // namespace
}  // namespace fmtrain
