// optimizer.ema: the formula, and what evaluation does with the average. Equal bits over stages, ranks and resumes: Rules in
// sharded_engine_test.cpp.
#include <gtest/gtest.h>
#include <ATen/ATen.h>

#include <mutex>

#include "runtime/engine/optimizer.h"
#include "tests/support/small_training.h"

namespace fmtrain {
namespace {

/// Larger and smaller than a norm block.
std::vector<NamedParameter> two_parameters() {
  at::manual_seed(5);
  std::vector<NamedParameter> list{{"bert.encoder.layer.0.output.dense.weight", at::randn({90, 70}), true},
                                   {"classifier.weight", at::randn({9, 70}), true}};
  for (auto& p : list) p.value.requires_grad_(true);
  return list;
}

/// e += (1 - d)(p - e) after every update, in fp64 beside it.
TEST(Average, FollowsItsFormula) {
  for (const auto name : {OptimizerName::kAdamW, OptimizerName::kSgd, OptimizerName::kLamb}) {
    auto list = two_parameters();
    FlatParams flat(list);
    OptimizerSection config;
    config.name = name;
    config.ema = 0.75;
    Optimizer optimizer({config}, flat.layout(), {{0, flat.layout().numel}}, flat.values());
    const auto average = optimizer.state().back().second;
    EXPECT_EQ(optimizer.state().back().first, "ema/");
    EXPECT_TRUE(at::equal(average, flat.values())) << "it begins at the weights";
    auto expected = flat.values().to(at::kDouble);
    for (int step = 0; step < 10; ++step) {
      optimizer.step(flat.values(), {at::randn({flat.layout().numel})}, 0.1, 1.0);
      expected = 0.75 * expected + 0.25 * flat.values();
    }
    const auto moved = (flat.values() - average).norm().item<double>();
    EXPECT_GT(moved, 1e-3 * expected.norm().item<double>());
    for (const auto& t : flat.layout().tensors)
      EXPECT_TRUE(at::allclose(average.narrow(0, t.offset, t.numel).to(at::kDouble), expected.narrow(0, t.offset, t.numel), 1e-6, 1e-6)) << t.name;
  }
}

TEST(Average, AndTheParametersChangePlaces) {
  auto list = two_parameters();
  FlatParams flat(list);
  OptimizerSection config;
  config.ema = 0.9;
  Optimizer optimizer({config}, flat.layout(), {{0, 2048}, {4096, flat.layout().numel}}, flat.values());
  flat.values().add_(1.0);
  const auto before = flat.values().clone(), average = optimizer.state().back().second.clone();
  optimizer.swap_average(flat.values());
  EXPECT_TRUE(at::equal(at::cat({flat.values().narrow(0, 0, 2048), flat.values().slice(0, 4096)}), average));
  EXPECT_TRUE(at::equal(flat.values().slice(0, 2048, 4096), before.slice(0, 2048, 4096))) << "another rank's";
  EXPECT_TRUE(optimizer.average_swapped());
  EXPECT_THROW(optimizer_state(flat.layout(), flat.values(), optimizer, optimizer.owned()), c10::Error);
  EXPECT_THROW(optimizer.step(flat.values(), {}, 0.1, 1.0), c10::Error);
  optimizer.swap_average(flat.values());
  EXPECT_TRUE(at::equal(flat.values(), before));
  EXPECT_TRUE(at::equal(optimizer.state().back().second, average));
}

/// All of them, end to end.
at::Tensor parameters_of(TaskModel& model) {
  std::vector<at::Tensor> flat;
  for (const auto& p : model.parameters()) flat.push_back(p.value.detach().reshape({-1}));
  return at::cat(flat);
}

TEST(Average, TakesThePlaceOfTheParametersAndLeavesTheTrainingAlone) {
  for (const int stage : {0, 1, 2, 3})
    for (const int ranks : {1, 2, 4}) {
      Case c{stage, ranks};
      c.optimizer.ema = 0.5;
      c.offload = ranks == 2;
      const auto plain = train(c);
      at::Tensor last;  // of rank 0
      std::mutex mutex;
      c.after_step = [&](Engine& engine, TaskModel& model) {
        const auto trained = parameters_of(model);
        engine.swap_average();
        const auto averaged = parameters_of(model);
        EXPECT_FALSE(at::equal(averaged, trained));
        EXPECT_THROW(engine.state(), c10::Error) << "no checkpoint holds exchanged weights";
        EXPECT_TRUE(model.loss(leaf(0, 0), {}).sum.isfinite().item<bool>());
        engine.swap_average();
        EXPECT_TRUE(at::equal(parameters_of(model), trained));
        const std::lock_guard lock(mutex);
        last = averaged;
      };
      const auto evaluated = train(c);
      const auto what = "stage " + std::to_string(stage) + " on " + std::to_string(ranks);
      expect_same(evaluated, plain, what);
      std::vector<at::Tensor> kept;
      const auto any = make_bert(small_bert(), 1);
      for (const auto& p : any->parameters()) kept.push_back(plain.state.at("ema/" + p.name));
      EXPECT_TRUE(at::equal(last, at::cat(kept))) << what << ": what is evaluated is what the state holds";
    }
}

}  // namespace
}  // namespace fmtrain
