// ZeRO stages give the bits of stage 0, for every number of ranks, with accumulation, short steps and frozen parameters.
#include <gtest/gtest.h>
#include <ATen/ATen.h>

#include <mutex>

#include "comm/thread_communicator.h"
#include "runtime/data/plan.h"
#include "tests/support/small_training.h"

namespace fmtrain {
namespace {

class Stages : public testing::TestWithParam<bool> {};

TEST_P(Stages, HaveTheBitsOfStage0OnOneRank) {
  const auto reference = train({0, 1, GetParam()});
  for (const int stage : {0, 1, 2, 3})
    for (const int ranks : {1, 2, 4, 8})
      for (const int64_t recompute : {0, 1, 2}) {  // none, every layer, two layers together
        const auto what = "stage " + std::to_string(stage) + " on " + std::to_string(ranks) + " recompute " + std::to_string(recompute);
        expect_same(train({stage, ranks, GetParam(), recompute}), reference, what);
      }
}

INSTANTIATE_TEST_SUITE_P(Freezing, Stages, testing::Values(false, true));

class Rules : public testing::TestWithParam<Rule> {
 protected:
  static Case with(int stage, int ranks, bool offload = false) {
    Case c{stage, ranks};
    c.offload = offload;
    return with_rule(c, GetParam());
  }
};

TEST_P(Rules, HaveTheSameBitsOnEveryNumberOfRanksAndStage) {
  const auto reference = train(with(0, 1));
  for (const int stage : {0, 1, 2, 3})
    for (const int ranks : {1, 2, 4})
      expect_same(train(with(stage, ranks)), reference, "stage " + std::to_string(stage) + " on " + std::to_string(ranks));
}

/// What a GPU's rank does, with memory of the processor in the GPU's place: state and values elsewhere, and copies between.
TEST_P(Rules, HaveTheSameBitsOffloaded) {
  const auto reference = train(with(0, 1));
  for (const int stage : {0, 1, 2, 3})
    for (const int ranks : {1, 4})
      expect_same(train(with(stage, ranks, true)), reference, "stage " + std::to_string(stage) + " on " + std::to_string(ranks));
}

TEST_P(Rules, GoOnFromASavedState) {
  const auto whole = train(with(0, 1));
  const auto half = train(with(1, 2), 7, 0, 2);
  for (const auto& [stage, ranks, offload] : {std::tuple{0, 2, false}, {1, 4, true}, {3, 2, false}, {0, 2, true}}) {
    const auto rest = train(with(stage, ranks, offload), 8, 2, 5, half);  // other first weights: everything must come from the state
    expect_same(joined(half, rest), whole, "stage " + std::to_string(stage) + " on " + std::to_string(ranks));
  }
  EXPECT_EQ(whole.state.count("start/classifier.weight"), GetParam().l2_start > 0 ? 1u : 0u);
}

INSTANTIATE_TEST_SUITE_P(Updates, Rules,
                         testing::Values(Rule{"lamb", OptimizerName::kLamb, 1, 0}, Rule{"layer_decay", OptimizerName::kAdamW, 0.7, 0},
                                         Rule{"l2_start", OptimizerName::kAdamW, 1, 0.5}, Rule{"sgd", OptimizerName::kSgd, 0.7, 0.5},
                                         Rule{"ema", OptimizerName::kAdamW, 1, 0, 0.9}, Rule{"all", OptimizerName::kLamb, 0.7, 0.5, 0.9}),
                         [](const auto& rule) { return rule.param.name; });

/// SGD without momentum moves a bias, which starts at 0, to -lr * gradient: for a power of two without rounding.
TEST(LayerDecay, ScalesTheStepOfEveryLayer) {
  Case plain{1, 2}, decayed{1, 2};
  for (auto* c : {&plain, &decayed}) {
    c->optimizer.name = OptimizerName::kSgd;
    c->optimizer.momentum = c->optimizer.weight_decay = 0;
  }
  decayed.optimizer.layer_decay = 0.5;
  const auto moved = train(plain, 7, 0, 1), less = train(decayed, 7, 0, 1);
  int biases = 0;
  for (const auto& [name, value] : moved.state) {
    if (!name.starts_with("param/") || !name.ends_with(".bias")) continue;
    const double share = name.find(".embeddings.") != std::string::npos ? 0.125
                         : name.find(".layer.0.") != std::string::npos  ? 0.25
                         : name.find(".layer.1.") != std::string::npos  ? 0.5
                                                                        : 1.0;
    EXPECT_TRUE(at::equal(less.state.at(name), share * value)) << name;
    EXPECT_GT(value.abs().max().item<double>(), 0) << name;
    ++biases;
  }
  EXPECT_EQ(biases, 1 + 2 * 8 + 1);
}

/// A table of 70,000 rows: the layout has two buckets, and the sparse gradient of one tensor lies in both.
TEST(Stages, HaveTheBitsOfStage0OverSeveralBuckets) {
  const auto run = [](OptimizerName name, int stage, int ranks) {
    std::map<std::string, at::Tensor> state;
    std::mutex mutex;
    run_ranks(ranks, [&](Communicator& comm) {
      auto config = small_bert();
      config.vocab_size = 70'000;
      config.hidden_size = 64;
      const auto model = make_bert(config, 7);
      Case c{stage, ranks};
      c.optimizer.name = name;
      const auto engine = engine_of(c, *model, comm);
      for (int64_t step = 0; step < 2; ++step) {
        const auto [first, last] = leaves_of(comm.rank(), comm.size(), 4);
        engine->begin_step({4, first, last - first, 40.0});
        for (int64_t slot = first; slot < last; ++slot) {
          auto batch = leaf(step, slot);
          batch.tokens = batch.tokens * 233;  // rows of the whole table
          engine->backward(model->loss(batch, {true, 3, step}), slot + 1 == last);
        }
        EXPECT_TRUE(engine->step(1e-2, false).applied);
      }
      const std::lock_guard lock(mutex);
      add_pieces(state, engine->state());
    });
    return state;
  };
  for (const auto rule : {OptimizerName::kAdamW, OptimizerName::kLamb}) {
    const auto reference = run(rule, 0, 1);
    for (const auto& [stage, ranks] : {std::pair{0, 4}, {1, 1}, {1, 2}, {1, 4}, {2, 1}, {2, 2}, {2, 4}}) {
      const auto state = run(rule, stage, ranks);
      for (const auto& [name, value] : reference) EXPECT_TRUE(at::equal(state.at(name), value)) << "stage " << stage << " on " << ranks << " " << name;
    }
  }
}

/// On 8 ranks each has one leaf, whose gradients stay bf16 until they are reduced.
TEST(Stages, HaveTheBitsOfStage0WithNarrowGradients) {
  for (const auto rule : {OptimizerName::kAdamW, OptimizerName::kLamb}) {
    const auto with = [&](int stage, int ranks) {
      Case c{stage, ranks};
      c.precision = Precision::kBf16;
      c.optimizer.name = rule;
      return train(c);
    };
    const auto reference = with(0, 1);
    for (const auto& [stage, ranks] : {std::pair{0, 2}, {0, 8}, {1, 2}, {1, 4}, {1, 8}, {2, 8}, {3, 8}})
      expect_same(with(stage, ranks), reference, "stage " + std::to_string(stage) + " on " + std::to_string(ranks));
  }
}

TEST(Stages, ThreeRanksFollowWithinRounding) {
  const auto reference = train({0, 1, false});
  for (const int stage : {0, 1, 2}) {
    const auto outcome = train({stage, 3, false});
    for (size_t i = 0; i < reference.losses.size(); ++i) EXPECT_NEAR(outcome.losses[i], reference.losses[i], 1e-5 * reference.losses[i]) << stage;
  }
}

}  // namespace
}  // namespace fmtrain
