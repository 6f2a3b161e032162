#include "runtime/metrics/bootstrap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace fmtrain {
namespace {

TEST(Bootstrap, IsAFunctionOfItsSeed) {
  const auto run = [](uint64_t seed) {
    std::vector<int64_t> all;
    bootstrap(7, 20, seed, 1, [&](std::span<const int64_t> drawn, std::span<double> values) {
      all.insert(all.end(), drawn.begin(), drawn.end());
      values[0] = 0;
    });
    return all;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
  EXPECT_NE(run(1), run(uint64_t{1} << 32 | 1));
  EXPECT_EQ(run(1).size(), 140u);
}

TEST(Bootstrap, DrawsEveryTextEquallyOften) {
  constexpr int64_t kTexts = 10, kResamples = 10000;
  std::vector<int> counts(kTexts);
  std::set<std::vector<int64_t>> different;
  bootstrap(kTexts, kResamples, 5, 1, [&](std::span<const int64_t> drawn, std::span<double>) {
    for (const int64_t i : drawn) ++counts.at(static_cast<size_t>(i));
    different.insert({drawn.begin(), drawn.end()});
  });
  for (const int count : counts) EXPECT_NEAR(count, 10000, 475);  // 5 standard deviations of 95
  EXPECT_GT(different.size(), 9990u);
}

TEST(Bootstrap, PercentilesAreNumpys) {
  double next = 0;
  // The statistic runs through 0..100: numpy.percentile(range(101), [2.5, 97.5]) = [2.5, 97.5].
  const auto intervals =
      bootstrap(1, 101, 1, 1, [&](std::span<const int64_t>, std::span<double> values) { values[0] = 100 - next++; });
  ASSERT_EQ(intervals.size(), 1u);
  EXPECT_EQ(intervals[0].low, 2.5);
  EXPECT_EQ(intervals[0].high, 97.5);
}

TEST(Bootstrap, OfNothingIsEmpty) {
  const auto never = [](std::span<const int64_t>, std::span<double>) { FAIL(); };
  EXPECT_TRUE(bootstrap(0, 100, 1, 1, never).empty());
  EXPECT_TRUE(bootstrap(100, 0, 1, 1, never).empty());
}

TEST(Bootstrap, CoversTheTrueShare) {
  std::mt19937 random(11);
  int covered = 0;
  for (uint64_t trial = 0; trial < 300; ++trial) {
    std::vector<int> correct(200);
    for (auto& c : correct) c = random() % 10 < 8;
    const auto interval = bootstrap(200, 400, trial, 1, [&](std::span<const int64_t> drawn, std::span<double> values) {
      values[0] = static_cast<double>(
                      std::count_if(drawn.begin(), drawn.end(), [&](int64_t i) { return correct[static_cast<size_t>(i)]; })) /
                  200;
    })[0];
    covered += interval.low <= 0.8 && 0.8 <= interval.high;
  }
  EXPECT_GE(covered, 270);  // 95 % of 300 is 285; the percentile interval of a share covers a little less
  EXPECT_LE(covered, 297);
}

}  // namespace
}  // namespace fmtrain
