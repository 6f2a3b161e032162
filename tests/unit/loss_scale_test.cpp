// fp16: the dynamics of the loss scale, and an engine that trains with one.
#include "runtime/engine/loss_scale.h"

#include <gtest/gtest.h>

#include "runtime/errors.h"
#include "tests/support/small_training.h"

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

/// Divided by 0.5 instead of the targets, logits have gradients of about 1: 65,536 * 2 times that is beyond fp16's 65,504.
Case overflowing(int stage, int ranks) {
  Case c{stage, ranks};
  c.precision = Precision::kFp16;
  c.divisor = 0.5;
  c.lr = 3e-3;
  return c;
}

TEST(Fp16, AnOverflowIsSkippedByAllRanksAtEveryStage) {
  const auto reference = train(overflowing(0, 1), 7, 0, 8);
  EXPECT_FALSE(reference.applied.front());
  EXPECT_TRUE(reference.applied.back());
  for (size_t i = 1; i < 8; ++i) EXPECT_EQ(reference.scales[i], reference.applied[i - 1] ? reference.scales[i - 1] : reference.scales[i - 1] / 2);
  for (const int stage : {0, 1, 2, 3})
    for (const int ranks : {1, 2, 4})
      expect_same(train(overflowing(stage, ranks), 7, 0, 8), reference, "stage " + std::to_string(stage) + " on " + std::to_string(ranks));
}

TEST(Fp16, ASavedStateGoesOnWithItsScale) {
  const auto whole = train(overflowing(0, 1), 7, 0, 8);
  const auto half = train(overflowing(1, 2), 7, 0, 2);
  EXPECT_LT(half.small.at("loss_scale"), 65'536);
  const auto rest = train(overflowing(2, 4), 7, 2, 8, half);
  expect_same(joined(half, rest), whole, "resumed");
}

/// Each product rounds both inputs and its result to 11 bits, a relative error of at most 2^-11 each. On the way to a logit lie four
/// products a layer and one of the head: 3 * (2 * 4 + 1) roundings, 1.3 %, were they all to go one way. The same holds for gradients,
/// whose errors change the weights by so much less than a step that later losses stay as close.
TEST(Fp16, LearnsAsFp32Does) {
  Case c{0, 1};
  c.divisor = kTargets;
  c.lr = 3e-3;
  c.one_batch = true;
  const auto full = train(c, 7, 0, 20);
  c.precision = Precision::kFp16;
  const auto low = train(c, 7, 0, 20);
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
