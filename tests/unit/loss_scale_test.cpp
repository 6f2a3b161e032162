// fp16: the dynamics of the loss scale, and an engine that trains with one.
#include "runtime/engine/loss_scale.h"

#include <gmock/gmock.h>
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <map>
#include <mutex>

#include "comm/thread_communicator.h"
#include "runtime/engine/engine.h"
#include "runtime/errors.h"
#include "tests/unit/small_bert.h"

namespace fmtrain {
namespace {

TEST(LossScale, IsHalvedAtAnOverflowAndDoubledAfter2000GoodSteps) {
  LossScale scale(true);
  EXPECT_EQ(scale.value(), 65'536);
  scale.update(false, true);
  EXPECT_EQ(scale.value(), 32'768);
  for (int i = 0; i < 1'999; ++i) scale.update(true, true);
  EXPECT_EQ(scale.value(), 32'768);
  scale.update(true, true);
  EXPECT_EQ(scale.value(), 65'536);
  for (int i = 0; i < 1'999; ++i) scale.update(true, true);
  scale.update(false, false);  // a loss that is not finite: the row is broken, the scale stays
  for (int i = 0; i < 1'999; ++i) scale.update(true, true);
  EXPECT_EQ(scale.value(), 65'536);
  scale.update(true, true);
  EXPECT_EQ(scale.value(), 131'072);
}

TEST(LossScale, StaysBetween1And2To24) {
  LossScale scale(true);
  for (int i = 0; i < 40; ++i) scale.update(false, true);
  EXPECT_EQ(scale.value(), 1);
  for (int i = 0; i < 40 * 2'000; ++i) scale.update(true, true);
  EXPECT_EQ(scale.value(), 1 << 24);
}

TEST(LossScale, Is1WithoutStateWhereItIsNotDynamic) {
  LossScale scale(false);
  scale.update(false, true);
  for (int i = 0; i < 2'000; ++i) scale.update(true, true);
  EXPECT_EQ(scale.value(), 1);
  Json small = Json::object();
  scale.save(small);
  EXPECT_TRUE(small.empty());
  scale.load(small);
}

TEST(LossScale, GoesOnFromItsState) {
  LossScale scale(true);
  scale.update(false, true);
  for (int i = 0; i < 1'500; ++i) scale.update(true, true);
  Json small{{"optimizer_steps", 3}};
  scale.save(small);
  EXPECT_EQ(small.dump(), R"({"optimizer_steps":3,"loss_scale":32768.0,"good_steps":1500})");
  LossScale next(true);
  next.load(small);
  for (int i = 0; i < 499; ++i) next.update(true, true);
  EXPECT_EQ(next.value(), 32'768);
  next.update(true, true);
  EXPECT_EQ(next.value(), 65'536);
}

TEST(LossScale, RefusesWhatNoRunSaves) {
  const Json right{{"loss_scale", 1024.0}, {"good_steps", 7}};
  LossScale(true).load(right);
  for (const auto& [name, value] : std::vector<std::pair<const char*, Json>>{
           {"loss_scale", 0.5}, {"loss_scale", 33554432.0}, {"loss_scale", 1000.0}, {"loss_scale", nullptr}, {"loss_scale", "1024"},
           {"loss_scale", -1024.0}, {"good_steps", -1}, {"good_steps", 2000}, {"good_steps", 1.5}, {"good_steps", Json::object()}}) {
    Json wrong = right;
    wrong[name] = value;
    EXPECT_THROW(LossScale(true).load(wrong), CheckpointError) << wrong;
  }
  EXPECT_THROW(LossScale(true).load(Json::object()), CheckpointError);
}

struct Outcome {
  std::vector<double> losses, norms, scales;
  std::vector<bool> applied;
  std::map<std::string, at::Tensor> state;  ///< by name, whole
  Json small;
};

struct Case {
  int stage = 0, ranks = 1;
  Precision precision = Precision::kFp16;
  double divisor = kTargets;
  bool one_batch = false;  ///< the same samples in every step, without dropout
};

void put(std::map<std::string, at::Tensor>& state, const StateDict& dict) {
  for (const auto& piece : dict.pieces) {
    auto& whole = state[piece.name];
    if (!whole.defined()) whole = at::zeros({c10::multiply_integers(piece.shape)});
    whole.narrow(0, piece.offset, piece.data.numel()).copy_(piece.data);
  }
}

void take_steps(const Case& c, Engine& engine, TaskModel& model, const Communicator& comm, int64_t from, int64_t to, Outcome& mine) {
  const int64_t leaves = kSlots / comm.size(), first = comm.rank() * leaves;
  for (int64_t step = from; step < to; ++step) {
    engine.begin_step({kSlots, first, leaves, c.divisor});
    for (int64_t i = 0; i < leaves; ++i)
      engine.backward(model.loss(leaf(c.one_batch ? 0 : step, first + i), {!c.one_batch, 3, step}), i + 1 == leaves);
    const auto result = engine.step(3e-3, false);
    mine.losses.push_back(result.loss);
    mine.norms.push_back(std::isnan(result.grad_norm) ? -1 : result.grad_norm);  // a NaN equals nothing
    mine.scales.push_back(result.loss_scale);
    mine.applied.push_back(result.applied);
    EXPECT_EQ(result.overflow, !result.applied);
  }
}

/// Steps [from, to), on from `begin` if that has a state.
Outcome train(const Case& c, int64_t from, int64_t to, const Outcome& begin = {}) {
  Outcome outcome;
  std::mutex mutex;
  run_ranks(c.ranks, [&](Communicator& comm) {
    at::set_num_threads(1);
    auto config = small_bert();
    config.precision = c.precision;
    const auto model = make_bert(config, 7);
    const auto engine = c.stage == 0 ? make_replicated_engine(*model, comm, {}, true) : make_sharded_engine(*model, comm, {}, c.stage, true);
    if (!begin.state.empty()) {
      for (const auto& piece : engine->targets().pieces)
        piece.data.copy_(begin.state.at(piece.name).narrow(0, piece.offset, piece.data.numel()));
      engine->load_state(begin.small);
    }
    Outcome mine;
    take_steps(c, *engine, *model, comm, from, to, mine);
    const std::lock_guard lock(mutex);
    const auto state = engine->state();
    put(outcome.state, state);
    if (comm.rank() > 0) return;
    std::tie(outcome.losses, outcome.norms, outcome.scales, outcome.applied) = std::tie(mine.losses, mine.norms, mine.scales, mine.applied);
    outcome.small = state.small;
  });
  return outcome;
}

void expect_same(const Outcome& outcome, const Outcome& reference, const std::string& what) {
  EXPECT_EQ(outcome.losses, reference.losses) << what;
  EXPECT_EQ(outcome.norms, reference.norms) << what;
  EXPECT_EQ(outcome.scales, reference.scales) << what;
  EXPECT_EQ(outcome.applied, reference.applied) << what;
  EXPECT_EQ(outcome.small, reference.small) << what;
  ASSERT_EQ(outcome.state.size(), reference.state.size()) << what;
  for (const auto& [name, value] : reference.state) EXPECT_TRUE(at::equal(outcome.state.at(name), value)) << what << " " << name;
}

/// Divided by 0.5 instead of the targets, logits have gradients of about 1: 65,536 * 2 times that is beyond fp16's 65,504.
constexpr double kOverflowing = 0.5;

TEST(Fp16, AnOverflowIsSkippedByAllRanksAtEveryStage) {
  const auto reference = train({0, 1, Precision::kFp16, kOverflowing}, 0, 8);
  EXPECT_FALSE(reference.applied.front());
  EXPECT_TRUE(reference.applied.back());
  for (size_t i = 1; i < 8; ++i) EXPECT_EQ(reference.scales[i], reference.applied[i - 1] ? reference.scales[i - 1] : reference.scales[i - 1] / 2);
  for (const int stage : {0, 1, 2, 3})
    for (const int ranks : {1, 2, 4})
      expect_same(train({stage, ranks, Precision::kFp16, kOverflowing}, 0, 8), reference, "stage " + std::to_string(stage) + " on " + std::to_string(ranks));
}

TEST(Fp16, ASavedStateGoesOnWithItsScale) {
  const auto whole = train({0, 1, Precision::kFp16, kOverflowing}, 0, 8);
  const auto half = train({1, 2, Precision::kFp16, kOverflowing}, 0, 2);
  EXPECT_LT(half.small.at("loss_scale"), 65'536);
  auto joined = train({2, 4, Precision::kFp16, kOverflowing}, 2, 8, half);
  joined.losses.insert(joined.losses.begin(), half.losses.begin(), half.losses.end());
  joined.norms.insert(joined.norms.begin(), half.norms.begin(), half.norms.end());
  joined.scales.insert(joined.scales.begin(), half.scales.begin(), half.scales.end());
  joined.applied.insert(joined.applied.begin(), half.applied.begin(), half.applied.end());
  expect_same(joined, whole, "resumed");
}

/// Each product rounds both inputs and its result to 11 bits, a relative error of at most 2^-11 each. On the way to a logit lie four
/// products a layer and one of the head: 3 * (2 * 4 + 1) roundings, 1.3 %, were they all to go one way. The same holds for gradients,
/// whose errors change the weights by so much less than a step that later losses stay as close.
TEST(Fp16, LearnsAsFp32Does) {
  const Case fp16{0, 1, Precision::kFp16, kTargets, true}, fp32{0, 1, Precision::kFp32, kTargets, true};
  const auto low = train(fp16, 0, 20), full = train(fp32, 0, 20);
  EXPECT_LT(low.losses.back(), 0.5 * low.losses.front());
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_TRUE(low.applied[i]) << i;
    EXPECT_NEAR(low.losses[i], full.losses[i], 27 * 0x1p-11 * full.losses[i]) << i;
    EXPECT_NEAR(low.norms[i], full.norms[i], 27 * 0x1p-11 * full.norms[i]) << i;
  }
  EXPECT_NE(low.losses, full.losses);
}

}  // namespace
}  // namespace fmtrain
