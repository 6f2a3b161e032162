#include <gtest/gtest.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include "runtime/engine/flat_params.h"
#include "runtime/engine/leaf_sum.h"
#include "runtime/engine/optimizer.h"
#include "runtime/engine/part_updates.h"

namespace fmtrain {
namespace {

std::vector<NamedParameter> three_parameters() {
  at::manual_seed(1);
  std::vector<NamedParameter> list{{"a", at::randn({5, 7}), true}, {"b", at::randn({16}), false}, {"c", at::randn({300, 301}), true}};
  for (auto& p : list) p.value.requires_grad_(true);
  return list;
}

TEST(FlatLayout, TensorsStartOn64Bytes) {
  const auto layout = make_layout(three_parameters());
  EXPECT_EQ(layout.tensors[0].offset, 0);
  EXPECT_EQ(layout.tensors[1].offset, 48);
  EXPECT_EQ(layout.tensors[2].offset, 64);
  EXPECT_EQ(layout.numel, 64 + 90304);
}

TEST(FlatParams, ValuesBecomeViewsOfOneArray) {
  auto list = three_parameters();
  const auto before = list[2].value.detach().clone();
  FlatParams flat(list);
  EXPECT_TRUE(at::equal(list[2].value.detach(), before));
  flat.values().fill_(2.5f);
  EXPECT_TRUE(at::equal(list[2].value.detach(), at::full({300, 301}, 2.5f)));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(list[1].value.data_ptr()) % 64, 0u);
}

TEST(AppendPieces, RangesOfAnyWorldHoldEveryElementOnce) {
  const auto layout = make_layout(three_parameters());
  const auto flat = at::arange(layout.numel, at::kFloat);
  for (int world = 1; world <= 5; ++world) {
    std::vector<TensorPiece> pieces;
    for (int rank = 0; rank < world; ++rank)
      for (const auto& range : ShardPlan(layout.numel, world).owned(rank)) append_pieces(pieces, "p/", layout, range, flat, 0);
    for (const auto& t : layout.tensors) {
      int64_t next = 0;
      for (const auto& piece : pieces)
        if (piece.name == "p/" + t.name) {
          EXPECT_EQ(piece.offset, next);
          EXPECT_EQ(piece.data[0].item<float>(), static_cast<float>(t.offset + piece.offset));
          next += piece.data.numel();
        }
      EXPECT_EQ(next, t.numel);
    }
  }
}

/// The tree over `slots` leaves of which the first `present` exist, by its definition.
at::Tensor tree(const std::vector<at::Tensor>& g, size_t first, size_t slots, size_t present) {
  if (first >= present) return {};
  if (slots == 1) return g[first];
  const auto left = tree(g, first, slots / 2, present), right = tree(g, first + slots / 2, slots / 2, present);
  return right.defined() ? left + right : left;
}

TEST(LeafSum, AddsInTheTreeOrderForEveryNumberOfLeaves) {
  const auto layout = make_layout(three_parameters());
  at::manual_seed(2);
  std::vector<at::Tensor> g;
  for (int i = 0; i < 8; ++i) g.push_back(at::randn({300, 301}) * std::pow(10.0, i % 4));
  for (size_t leaves = 1; leaves <= 8; ++leaves) {
    LeafSum sum(layout, at::zeros({layout.numel}), true);
    const auto result = at::full({layout.numel}, 99.f);
    LeafSum into(layout, result, true);
    into.begin(static_cast<int64_t>(leaves));
    for (size_t leaf = 0; leaf < leaves; ++leaf) {
      into.add(2, g[leaf]);
      into.finish_leaf();
    }
    EXPECT_TRUE(at::equal(result.narrow(0, 64, 90300).view({300, 301}), tree(g, 0, 8, leaves))) << leaves;
    EXPECT_TRUE(at::equal(result.narrow(0, 0, 35), at::zeros({35}))) << "no gradient counts as zero";
  }
}

TEST(LeafSum, ARankWithoutLeavesChangesNothing) {
  const auto layout = make_layout(three_parameters());
  const auto result = at::full({layout.numel}, 99.f);
  LeafSum sum(layout, result, true);
  sum.begin(0);
  const auto x = at::tensor({-0.0f, 0.0f, -3.5f});
  const auto y = x + result.narrow(0, 0, 3);
  EXPECT_EQ(std::memcmp(x.data_ptr(), y.data_ptr(), 12), 0);
}

TEST(LeafSum, TheTreeDiffersFromTheRunningSum) {
  const auto layout = make_layout(three_parameters());
  const auto exact = at::zeros({layout.numel}), running = at::zeros({layout.numel});
  for (const bool is_exact : {true, false}) {
    at::manual_seed(3);
    LeafSum sum(layout, is_exact ? exact : running, is_exact);
    sum.begin(8);
    for (int leaf = 0; leaf < 8; ++leaf) {
      sum.add(2, at::randn({300, 301}));
      sum.finish_leaf();
    }
  }
  EXPECT_FALSE(at::equal(exact, running));
  EXPECT_TRUE(at::allclose(exact, running, 1e-4, 1e-5));
}

TEST(LeafSum, RefusesASecondGradientInOneLeaf) {
  const auto layout = make_layout(three_parameters());
  LeafSum sum(layout, at::zeros({layout.numel}), true);
  sum.begin(1);
  sum.add(1, at::ones({16}));
  EXPECT_THROW(sum.add(1, at::ones({16})), c10::Error);
}

TEST(Optimizer, AdamWFollowsTorchFor20Steps) {
  auto ours = three_parameters();
  std::vector<at::Tensor> with_decay, without;
  for (const auto& p : ours) (p.decays ? with_decay : without).push_back(p.value.detach().clone().requires_grad_(true));
  torch::optim::AdamW oracle({torch::optim::OptimizerParamGroup(with_decay, std::make_unique<torch::optim::AdamWOptions>(torch::optim::AdamWOptions(2e-3).weight_decay(0.1))),
                              torch::optim::OptimizerParamGroup(without, std::make_unique<torch::optim::AdamWOptions>(torch::optim::AdamWOptions(2e-3).weight_decay(0)))},
                             torch::optim::AdamWOptions(2e-3));
  FlatParams flat(ours);
  OptimizerSection config;
  config.lr = 2e-3;
  config.weight_decay = 0.1;
  Optimizer optimizer({config}, flat.layout(), {{0, flat.layout().numel}}, flat.values());
  const auto gradient = at::zeros({flat.layout().numel});
  for (int step = 0; step < 20; ++step) {
    gradient.zero_();
    for (size_t i = 0, d = 0, n = 0; i < ours.size(); ++i) {
      auto& reference = ours[i].decays ? with_decay[d++] : without[n++];
      reference.mutable_grad() = at::randn(ours[i].value.sizes());
      const auto& t = flat.layout().tensors[i];
      gradient.narrow(0, t.offset, t.numel).copy_(reference.grad().view({-1}));
    }
    oracle.step();
    optimizer.step(flat.values(), {gradient}, 2e-3, 1.0);
  }
  EXPECT_LE((ours[2].value - with_decay[1]).detach().norm().item<double>(), 1e-7 * with_decay[1].norm().item<double>());
  EXPECT_LE((ours[1].value - without[0]).detach().norm().item<double>(), 1e-7 * without[0].norm().item<double>());
}

TEST(Optimizer, SgdFollowsTorch) {
  auto ours = three_parameters();
  auto reference = ours[2].value.detach().clone().requires_grad_(true);
  torch::optim::SGD oracle({reference}, torch::optim::SGDOptions(0.1).momentum(0.9).weight_decay(0.01));
  FlatParams flat(ours);
  OptimizerSection config;
  config.name = OptimizerName::kSgd;
  Optimizer optimizer({config}, flat.layout(), {{0, flat.layout().numel}}, flat.values());
  const auto gradient = at::zeros({flat.layout().numel});
  for (int step = 0; step < 10; ++step) {
    reference.mutable_grad() = at::randn({300, 301});
    gradient.narrow(0, 64, 90300).copy_(reference.grad().view({-1}));
    oracle.step();
    optimizer.step(flat.values(), {gradient}, 0.1, 1.0);
  }
  EXPECT_LE((ours[2].value - reference).detach().norm().item<double>(), 1e-6 * reference.norm().item<double>());
}

TEST(Optimizer, ShardsGiveTheBitsOfTheWhole) {
  const auto run = [](int world) {
    auto list = three_parameters();
    FlatParams flat(list);
    std::vector<Optimizer> shards;
    for (int rank = 0; rank < world; ++rank)
      shards.emplace_back(UpdateOptions{}, flat.layout(), ShardPlan(flat.layout().numel, world).owned(rank), flat.values());
    at::manual_seed(4);
    for (int step = 0; step < 3; ++step) {
      const auto gradient = at::randn({flat.layout().numel});
      for (auto& shard : shards) {
        std::vector<GradientPiece> parts;
        for (const auto& range : shard.owned()) parts.push_back(gradient.narrow(0, range.first, range.numel()));
        shard.step(flat.values(), parts, 1e-3, 0.7);
      }
    }
    return list[2].value.detach().clone();
  };
  const auto whole = run(1);
  for (const int world : {2, 3, 8}) EXPECT_TRUE(at::equal(whole, run(world))) << world;
}

TEST(Optimizer, OffloadedWorksOnCopiesOfItsOwn) {
  auto list = three_parameters();
  FlatParams flat(list);
  const auto& layout = flat.layout();
  Optimizer here(UpdateOptions{}, layout, {{0, layout.numel}}, flat.values());
  UpdateOptions options;
  options.offload = true;
  Optimizer away(options, layout, {{0, layout.numel}}, flat.values());
  const auto mine = flat.values().clone(), gradient = at::randn({layout.numel}), kept = gradient.clone();
  here.step(mine, {gradient.clone()}, 1e-3, 0.7);
  away.step(flat.values(), {gradient}, 1e-3, 0.7);
  EXPECT_TRUE(at::equal(flat.values(), mine));
  EXPECT_TRUE(at::equal(gradient, kept));
  flat.values().add_(1.0);  // from outside, unsaid: the update does not know of it and writes over it
  here.step(mine, {gradient.clone()}, 1e-3, 0.7);
  away.step(flat.values(), {gradient}, 1e-3, 0.7);
  EXPECT_TRUE(at::equal(flat.values(), mine));
  for (const auto& values : {mine, flat.values()}) values.add_(1.0);
  away.values_changed(flat.values());
  here.step(mine, {gradient.clone()}, 1e-3, 0.7);
  away.step(flat.values(), {gradient}, 1e-3, 0.7);
  EXPECT_TRUE(at::equal(flat.values(), mine));
}

/// Head and backbone, decaying and not, smaller and larger than a norm block.
std::vector<NamedParameter> named_parameters() {
  at::manual_seed(5);
  std::vector<NamedParameter> list{{"bert.encoder.layer.0.output.dense.weight", at::randn({90, 70}), true},
                                   {"bert.encoder.layer.0.output.LayerNorm.weight", at::randn({70}), false},
                                   {"classifier.weight", at::randn({9, 70}), true},
                                   {"classifier.bias", at::zeros({9}), false}};
  for (auto& p : list) p.value.requires_grad_(true);
  return list;
}

/// LAMB's formula as it is printed, in fp64, on one tensor; `start` undefined: no pull.
struct LambOracle {
  at::Tensor p, start, m, v;
  double weight_decay, l2_start;
  bool adapts;
  void step(const at::Tensor& gradient, double lr, int64_t t) {
    const auto g = gradient.to(at::kDouble);
    if (start.defined()) p = p - lr * l2_start * (p - start);
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    const auto n = static_cast<double>(t);
    const auto u = m / (1 - std::pow(0.9, n)) / ((v / (1 - std::pow(0.999, n))).sqrt() + 1e-6) + weight_decay * p;
    const double of_p = p.norm().item<double>(), of_u = u.norm().item<double>();
    p = p - lr * (adapts && of_p > 0 && of_u > 0 ? of_p / of_u : 1.0) * u;
  }
};

TEST(Optimizer, LambFollowsItsFormulaFor20Steps) {
  for (const double l2_start : {0.0, 0.3}) {
    auto ours = named_parameters();
    std::vector<LambOracle> oracles;
    for (const auto& p : ours) {
      const bool pulled = l2_start > 0 && p.name.starts_with("bert.");
      const auto whole = p.value.detach().to(at::kDouble), zeros = at::zeros_like(whole);
      oracles.push_back({whole, pulled ? whole : at::Tensor(), zeros, zeros, p.decays && !pulled ? 0.1 : 0.0, l2_start, p.decays});
    }
    FlatParams flat(ours);
    OptimizerSection config;
    config.name = OptimizerName::kLamb;
    config.weight_decay = 0.1;
    config.eps = 1e-6;
    Optimizer optimizer({config, l2_start}, flat.layout(), {{0, flat.layout().numel}}, flat.values());
    for (int64_t step = 1; step <= 20; ++step) {
      const auto gradient = at::zeros({flat.layout().numel});
      for (size_t i = 0; i < ours.size(); ++i) {
        const auto g = at::randn(ours[i].value.sizes()) * static_cast<double>(1 + i);
        const auto& t = flat.layout().tensors[i];
        gradient.narrow(0, t.offset, t.numel).copy_(g.view({-1}));
        oracles[i].step(0.5 * g, 0.02, step);
      }
      optimizer.step(flat.values(), {gradient}, 0.02, 0.5);
    }
    for (size_t i = 0; i < ours.size(); ++i) {
      const auto& p = oracles[i].p;
      EXPECT_LE((ours[i].value.detach().to(at::kDouble) - p).norm().item<double>(), 1e-5 * p.norm().item<double>()) << ours[i].name;
    }
  }
}

TEST(Optimizer, LambTakesZeroWeightsAndZeroGradients) {
  for (const bool zero_weights : {false, true}) {
    auto list = named_parameters();
    FlatParams flat(list);
    if (zero_weights) flat.values().zero_();
    const auto before = flat.values().clone();
    OptimizerSection config;
    config.name = OptimizerName::kLamb;
    config.weight_decay = 0;
    Optimizer optimizer({config}, flat.layout(), {{0, flat.layout().numel}}, flat.values());
    optimizer.step(flat.values(), {at::full({flat.layout().numel}, zero_weights ? 2.0 : 0.0)}, 0.25, 1.0);
    if (zero_weights) EXPECT_TRUE(at::allclose(list[0].value.detach(), at::full({90, 70}, -0.25), 1e-5, 0)) << "the ratio is 1";
    else EXPECT_TRUE(at::equal(flat.values(), before));
  }
}

TEST(Optimizer, ThePullGoesToTheStartAndSparesTheHead) {
  for (const auto name : {OptimizerName::kAdamW, OptimizerName::kSgd, OptimizerName::kLamb}) {
    auto list = named_parameters();
    FlatParams flat(list);
    const auto start = flat.values().clone();
    OptimizerSection config;
    config.name = name;
    config.weight_decay = 0;
    Optimizer optimizer({config, 2.0}, flat.layout(), {{0, flat.layout().numel}}, flat.values());
    EXPECT_EQ(optimizer.state().back().first, "start/");
    EXPECT_TRUE(at::equal(optimizer.state().back().second, start));
    flat.values().add_(1.0);
    for (int step = 0; step < 10; ++step) optimizer.step(flat.values(), {at::zeros({flat.layout().numel})}, 0.1, 1.0);
    for (size_t i = 0; i < list.size(); ++i) {
      const auto& t = flat.layout().tensors[i];
      const auto moved = list[i].value.detach().view({-1}) - start.narrow(0, t.offset, t.numel);
      const double left = i < 2 ? std::pow(1 - 0.1 * 2.0, 10) : 1.0;
      EXPECT_TRUE(at::allclose(moved, at::full_like(moved, left), 0, 1e-5)) << list[i].name;
    }
  }
}

TEST(Optimizer, KeepsTheStartOnlyWhereSomethingPulls) {
  OptimizerSection config;
  EXPECT_EQ(optimizer_states(config, 0), (std::vector<std::string>{"exp_avg/", "exp_avg_sq/"}));
  EXPECT_EQ(optimizer_states(config, 0.1), (std::vector<std::string>{"exp_avg/", "exp_avg_sq/", "start/"}));
  config.name = OptimizerName::kLamb;
  EXPECT_EQ(optimizer_states(config, 0), (std::vector<std::string>{"exp_avg/", "exp_avg_sq/"}));
  config.name = OptimizerName::kSgd;
  EXPECT_EQ(optimizer_states(config, 0.1), (std::vector<std::string>{"momentum/", "start/"}));
  config.ema = 0.9;
  EXPECT_EQ(optimizer_states(config, 0.1), (std::vector<std::string>{"momentum/", "start/", "ema/"}));
}

TEST(TensorRates, OfEveryPartOfAModel) {
  ModelConfig shape;
  shape.vocab_size = 30;
  shape.hidden_size = shape.intermediate_size = 8;
  shape.layers = 3;
  shape.heads = 2;
  shape.max_positions = 8;
  shape.labels = 2;
  shape.task = Task::kSequenceClassification;
  UpdateOptions options{{}, 0, 3};
  options.optimizer.layer_decay = 0.5;
  std::map<int, int> tensors;  // by exponent
  const auto layout = make_layout(make_bert(shape, 1)->parameters());
  for (const auto& t : layout.tensors) {
    const auto layer = t.name.find("layer.");
    const int exponent = t.name.starts_with("bert.embeddings.") ? 4 : layer == std::string::npos ? 0 : 3 - (t.name[layer + 6] - '0');
    const auto rates = rates_of(options, t);
    EXPECT_EQ(rates.lr, std::pow(0.5, exponent)) << t.name;
    EXPECT_EQ(rates.weight_decay, t.decays ? 0.01 : 0.0) << t.name;
    EXPECT_EQ(rates.pull, 0) << t.name;
    const bool head = t.name.starts_with("classifier.");
    const auto pulled = rates_of({{}, 0.1, 3}, t);
    EXPECT_EQ(pulled.lr, 1) << t.name;
    EXPECT_EQ(pulled.pull, head ? 0 : 0.1) << t.name;
    EXPECT_EQ(pulled.weight_decay, head && t.decays ? 0.01 : 0.0) << "the pull takes its place";
    ++tensors[exponent];
  }
  EXPECT_EQ(tensors, (std::map<int, int>{{0, 4}, {1, 16}, {2, 16}, {3, 16}, {4, 5}})) << "classifier and pooler are the top";
}

TEST(BlockSums, AreTheSquaresOfEachBlock) {
  const auto data = at::ones({3 * kNormBlock / 2});
  data[kNormBlock] = 3.0f;
  const auto sums_from = [&](int64_t first) {
    const auto sums = at::full({norm_blocks({first, first + data.numel()})}, -1.0, at::kDouble);
    block_sums(data, first, sums);
    return std::vector<double>(sums.data_ptr<double>(), sums.data_ptr<double>() + sums.numel());
  };
  const double block = kNormBlock;
  EXPECT_EQ(sums_from(5 * kNormBlock), (std::vector{block, block / 2 + 8}));
  EXPECT_EQ(sums_from(6 * kNormBlock - 32), (std::vector{32.0, block + 8, block / 2 - 32}));
  EXPECT_EQ(sums_from(kNormBlock / 2), (std::vector{block / 2, block + 8}));
  EXPECT_EQ(norm_blocks({70, 70}), 0);
}

/// A gradient that is put into room whenever it is read.
struct Copied final : GradientSource {
  at::Tensor data;  ///< of the layout
  const float* read(Range range, float* room) const override {
    std::copy_n(data.const_data_ptr<float>() + range.first, range.numel(), room);
    return room;
  }
};

TEST(GradientPiece, HasTheSameBitsReadOrInMemory) {
  at::manual_seed(6);
  Copied source;
  source.data = at::randn({3 * kNormBlock});
  for (const Range range : {Range{0, 3 * kNormBlock}, Range{32, 2 * kNormBlock + 5}, Range{kNormBlock, kNormBlock + 1}}) {
    const auto memory = source.data.narrow(0, range.first, range.numel());
    const auto results = [&](const GradientPiece& gradient) {
      std::vector<at::Tensor> all{at::zeros({norm_blocks(range)}, at::kDouble), at::ones({range.numel()}), at::zeros({range.numel()}), at::zeros({range.numel()})};
      block_sums(gradient, range.first, all[0]);
      update_by_adamw(adamw_update(1e-2, 0.1, 0.9, 0.999, 1e-8, 0.5, 3), all[1], gradient, all[2], all[3]);
      return all;
    };
    const auto read = results(GradientPiece(source, range)), stored = results(memory);
    for (size_t i = 0; i < read.size(); ++i) EXPECT_TRUE(at::equal(read[i], stored[i])) << i << " from " << range.first;
  }
  EXPECT_THROW(GradientPiece(source, {0, 16}).memory(), c10::Error);
}

}  // namespace
}  // namespace fmtrain
