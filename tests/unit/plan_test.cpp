#include "runtime/data/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

namespace fmtrain {
namespace {

struct Sizes {
  std::vector<int32_t> lengths, targets;
};

Sizes sizes(int n) {
  Sizes s;
  std::mt19937 random(7);
  for (int i = 0; i < n; ++i) {
    s.lengths.push_back(static_cast<int32_t>(3 + random() % 60));
    s.targets.push_back(s.lengths.back() - 2);
  }
  return s;
}

StepPlan plan_of(const Sizes& s, int64_t global, int64_t micro, Order order, uint64_t seed = 1) {
  return {s.lengths, s.targets, seed, BatchSection{global, micro}, order};
}

TEST(Order, IsAPermutationForEverySize) {
  for (const int64_t n : {1, 2, 3, 5, 17, 64, 1000}) {
    std::set<int64_t> seen;
    for (int64_t p = 0; p < n; ++p) {
      const auto id = order(3, 2, n, p);
      ASSERT_TRUE(id >= 0 && id < n);
      seen.insert(id);
    }
    EXPECT_EQ(static_cast<int64_t>(seen.size()), n);
  }
}

TEST(Order, DependsOnSeedAndEpochAndIsFarFromSorted) {
  const auto list = [](uint64_t seed, int64_t epoch) {
    std::vector<int64_t> ids;
    for (int64_t p = 0; p < 1000; ++p) ids.push_back(order(seed, epoch, 1000, p));
    return ids;
  };
  EXPECT_EQ(list(1, 0), list(1, 0));
  EXPECT_NE(list(1, 0), list(1, 1));
  EXPECT_NE(list(1, 0), list(2, 0));
  const auto ids = list(1, 0);
  int ascents = 0, fixed = 0;
  for (size_t i = 0; i + 1 < ids.size(); ++i) ascents += ids[i] < ids[i + 1];
  for (size_t i = 0; i < ids.size(); ++i) fixed += ids[i] == static_cast<int64_t>(i);
  EXPECT_NEAR(ascents, 500, 60);  // standard deviation of a random permutation: sqrt(1000 / 12) = 9
  EXPECT_LT(fixed, 10);
}

class EveryOrder : public testing::TestWithParam<Order> {};

TEST_P(EveryOrder, EachSampleOncePerEpoch) {
  const auto s = sizes(1003);
  const auto plan = plan_of(s, 16, 4, GetParam());
  ASSERT_EQ(plan.steps_per_epoch(), 63);
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::multiset<int64_t> seen;
    for (int64_t i = 0; i < 63; ++i)
      for (const auto& leaf : plan.step(epoch * 63 + i).leaves) seen.insert(leaf.begin(), leaf.end());
    EXPECT_EQ(seen.size(), 1003u);
    EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.end()).size(), 1003u);
  }
}

TEST_P(EveryOrder, CountsAreThoseOfItsSamples) {
  const auto s = sizes(1003);
  const auto plan = plan_of(s, 16, 4, GetParam());
  for (const int64_t at : {0, 5, 62}) {
    const auto step = plan.step(at);
    int64_t samples = 0, tokens = 0, targets = 0;
    for (const auto& leaf : step.leaves)
      for (const auto id : leaf) {
        ++samples;
        tokens += s.lengths[static_cast<size_t>(id)];
        targets += s.targets[static_cast<size_t>(id)];
      }
    EXPECT_EQ(step.samples, samples);
    EXPECT_EQ(step.tokens, tokens);
    EXPECT_EQ(step.valid_targets, targets);
  }
}

INSTANTIATE_TEST_SUITE_P(Orders, EveryOrder, testing::Values(Order::kRandom, Order::kLengthGrouped));

TEST(StepPlan, ShortStepFillsTheFirstLeaves) {
  const auto s = sizes(16 + 5);
  const auto step = plan_of(s, 16, 4, Order::kRandom).step(1);
  ASSERT_EQ(step.leaves.size(), 4u);
  EXPECT_EQ(step.samples, 5);
  EXPECT_EQ(step.leaves[0].size() + step.leaves[1].size(), 5u);
  EXPECT_TRUE(step.leaves[2].empty() && step.leaves[3].empty());
}

TEST(StepPlan, LeavesAreFullAndBalancedInTokens) {
  const auto s = sizes(3200);
  const auto plan = plan_of(s, 32, 4, Order::kRandom);
  for (int64_t at = 0; at < 100; ++at) {
    const auto step = plan.step(at);
    for (const auto& leaf : step.leaves) {
      EXPECT_EQ(leaf.size(), 4u);
      int64_t tokens = 0;
      for (const auto id : leaf) tokens += s.lengths[static_cast<size_t>(id)];
      EXPECT_NEAR(static_cast<double>(tokens), static_cast<double>(step.tokens) / 8, 40);
    }
  }
}

TEST(StepPlan, GroupedStepsHoldSimilarLengths) {
  const auto s = sizes(3200);
  const auto spread = [&](Order order) {
    const auto plan = plan_of(s, 32, 32, order);
    int64_t sum = 0;
    for (int64_t at = 0; at < 100; ++at) {
      const auto leaf = plan.step(at).leaves[0];
      const auto [low, high] = std::minmax_element(leaf.begin(), leaf.end(), [&](int64_t a, int64_t b) { return s.lengths[static_cast<size_t>(a)] < s.lengths[static_cast<size_t>(b)]; });
      sum += s.lengths[static_cast<size_t>(*high)] - s.lengths[static_cast<size_t>(*low)];
    }
    return sum;
  };
  EXPECT_LT(spread(Order::kLengthGrouped) * 10, spread(Order::kRandom));
}

TEST(StepPlan, TotalStepsRoundUp) {
  const auto s = sizes(100);
  const auto plan = plan_of(s, 32, 32, Order::kRandom);
  ScheduleSection schedule;
  schedule.epochs = 3;
  EXPECT_EQ(plan.total_steps(schedule), 12);
  schedule.epochs = 0.3;
  EXPECT_EQ(plan.total_steps(schedule), 2);
  schedule.steps = 7;
  EXPECT_EQ(plan.total_steps(schedule), 7);
}

TEST(LeavesOf, TileTheStepForEveryWorld) {
  for (int64_t v = 1; v <= 9; ++v)
    for (int size = 1; size <= v; ++size) {
      int64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const auto [first, last] = leaves_of(rank, size, v);
        EXPECT_EQ(first, next);
        EXPECT_GT(last, first);
        next = last;
      }
      EXPECT_EQ(next, v);
    }
}

}  // namespace
}  // namespace fmtrain
