// The bf16 copies of parameters that products read: written by the optimizer's own pass, for every stage and number of ranks.
#include <gtest/gtest.h>
#include <ATen/ATen.h>

#include <atomic>
#include <cstring>
#include <limits>

#include "runtime/engine/part_updates.h"
#include "runtime/ledger.h"
#include "tests/support/small_training.h"

namespace fmtrain {
namespace {

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.nbytes() == b.nbytes() && std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

TEST(LowCopy, RoundsAsATen) {
  at::manual_seed(1);
  auto values = at::randn({100'003}) * at::exp(at::randn({100'003}) * 30);
  const float special[] = {0.0f, -0.0f, 1.00390625f, 1.01171875f, 3.3895314e38f, 3.4e38f, std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity(), 1e-45f, -1.17e-38f};
  std::memcpy(values.data_ptr(), special, sizeof special);
  const auto low = at::empty_like(values, at::kBFloat16);
  round_low(values, low);
  EXPECT_TRUE(same_bits(low, values.to(at::kBFloat16)));
  values.fill_(std::numeric_limits<float>::quiet_NaN());
  round_low(values, low);
  EXPECT_TRUE(low.isnan().all().item<bool>());
}

TEST(LowCopy, ComesWithTheUpdateAndChangesNoBitOfIt) {
  const auto updated = [](bool low_too) {
    at::manual_seed(2);
    const auto p = at::randn({5'001}), g = at::randn({5'001}), m = at::randn({5'001}), v = at::rand({5'001}), low = at::zeros({5'001}, at::kBFloat16);
    update_by_adamw(adamw_update(1e-2, 0.1, 0.9, 0.999, 1e-8, 0.5, 3), p, g, m, v, 0, {}, low_too ? low : at::Tensor());
    EXPECT_EQ(same_bits(low, p.to(at::kBFloat16)), low_too);
    return at::cat({p, m, v});
  };
  EXPECT_TRUE(same_bits(updated(true), updated(false)));
}

/// Engines move them to memory that ranks share; what they had before is free then, also of weights that are parts of one tensor.
TEST(LowCopy, LeavesNothingBehindWhenItIsMoved) {
  start_ledger();
  auto config = small_bert();
  config.precision = Precision::kBf16;
  const auto model = make_bert(config, 7);
  const auto held = [] {
    int64_t bytes = 0;
    for (const auto& account : ledger()) bytes += account.now;
    return bytes;
  };
  std::vector<uint16_t> elsewhere(100'000);
  const int64_t before = held();
  int64_t moved = 0;
  for (size_t i = 0; i < model->parameters().size(); ++i) {
    auto low = model->low_copy(i);
    if (!low.defined()) continue;
    moved += static_cast<int64_t>(low.nbytes());
    low.set_data(at::from_blob(elsewhere.data(), low.sizes(), at::kBFloat16));
  }
  EXPECT_GT(moved, 0);
  EXPECT_EQ(before - held(), moved);
}

TEST(LowCopy, IsThatOfTheParametersAfterEveryStep) {
  for (const auto rule : {OptimizerName::kAdamW, OptimizerName::kSgd, OptimizerName::kLamb})
    for (const int stage : {0, 1, 2, 3})
      for (const int ranks : {1, 2, 4})
        for (const bool freeze : {false, true}) {
          Case c{stage, ranks, freeze};
          c.precision = Precision::kBf16;
          c.optimizer.name = rule;
          c.optimizer.ema = 0.9;
          std::atomic<int> copies = 0;
          const auto check = [&](TaskModel& model) {
            for (size_t i = 0; i < model.parameters().size(); ++i) {
              const auto low = model.low_copy(i);
              if (!low.defined()) continue;
              EXPECT_TRUE(same_bits(low, model.parameters()[i].value.detach().to(at::kBFloat16))) << model.parameters()[i].name << " stage " << stage << " on " << ranks;
              ++copies;
            }
          };
          c.after_step = [&](Engine& engine, TaskModel& model) {
            check(model);
            for (int swaps = 0; swaps < 2; ++swaps) {  // what is evaluated with evaluate.weights: ema, and what is trained on then
              engine.swap_average();
              check(model);
            }
          };
          train(c, 7, 0, ranks == 4 ? 4 : 2);
          EXPECT_GT(copies, 0);
        }
}

}  // namespace
}  // namespace fmtrain
