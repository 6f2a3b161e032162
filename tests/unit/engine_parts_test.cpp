#include <gtest/gtest.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include "runtime/engine/flat_params.h"
#include "runtime/engine/leaf_sum.h"
#include "runtime/engine/optimizer.h"

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
  Optimizer optimizer(config, flat.layout(), {{0, flat.layout().numel}}, flat.values().options());
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
  Optimizer optimizer(config, flat.layout(), {{0, flat.layout().numel}}, flat.values().options());
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
      shards.emplace_back(OptimizerSection{}, flat.layout(), ShardPlan(flat.layout().numel, world).owned(rank), flat.values().options());
    at::manual_seed(4);
    for (int step = 0; step < 3; ++step) {
      const auto gradient = at::randn({flat.layout().numel});
      for (auto& shard : shards) {
        std::vector<at::Tensor> parts;
        for (const auto& range : shard.owned()) parts.push_back(gradient.narrow(0, range.first, range.numel()));
        shard.step(flat.values(), parts, 1e-3, 0.7);
      }
    }
    return list[2].value.detach().clone();
  };
  const auto whole = run(1);
  for (const int world : {2, 3, 8}) EXPECT_TRUE(at::equal(whole, run(world))) << world;
}

TEST(BlockSums, AreTheSquaresOfEachBlock) {
  const auto data = at::ones({3 * kNormBlock / 2});
  data[kNormBlock] = 3.0f;
  double sums[2];
  block_sums(data, sums);
  EXPECT_EQ(sums[0], static_cast<double>(kNormBlock));
  EXPECT_EQ(sums[1], static_cast<double>(kNormBlock / 2 + 8));
}

}  // namespace
}  // namespace fmtrain
