#include "runtime/stragglers.h"

#include <gmock/gmock.h>

#include <map>
#include <random>

#include "comm/thread_communicator.h"

namespace fmtrain {
namespace {

/// Steps at which something was said, and what, when the ranks are slower by `factor`(rank, step).
std::map<int64_t, std::string> said(int ranks, int64_t steps, const std::function<double(int, int64_t)>& factor) {
  std::map<int64_t, std::string> all;
  run_ranks(ranks, [&](Communicator& comm) {
    Stragglers stragglers(comm, "node" + std::to_string(comm.rank() / 2));
    for (int64_t step = 1; step <= steps; ++step) {
      const auto text = stragglers.step(100 + step % 7, (100.0 + static_cast<double>(step % 7)) * factor(comm.rank(), step) / 1000);
      if (comm.rank() == 0 && !text.empty()) all[step] = text;
    }
  });
  return all;
}

TEST(Stragglers, OneOfHalfTheSpeedIsNamedOnceWithinSixtySteps) {
  const auto all = said(4, 400, [](int rank, int64_t) { return rank == 3 ? 2.0 : 1.0; });
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all.begin()->first, 60);
  EXPECT_THAT(all.begin()->second, testing::StartsWith("rank 3 on node1 is slow: 500 tokens/s against 1000 of the fastest rank"));
}

TEST(Stragglers, OneOfHalfTheSpeedIsNamedThroughNoise) {
  for (int slow = 0; slow < 4; ++slow) {
    std::vector<std::mt19937> random;
    for (unsigned r = 0; r < 4; ++r) random.emplace_back(10 * r + static_cast<unsigned>(slow));
    const auto all = said(4, 60, [&](int rank, int64_t) {
      return (rank == slow ? 2.0 : 1.0) * std::uniform_real_distribution<>(0.9, 1.1)(random[static_cast<size_t>(rank)]);
    });
    ASSERT_EQ(all.size(), 1u);
    EXPECT_THAT(all.at(60), testing::StartsWith("rank " + std::to_string(slow) + " on "));
  }
}

TEST(Stragglers, NoiseOfTenPercentIsNone) {
  std::vector<std::mt19937> random;
  for (unsigned r = 0; r < 4; ++r) random.emplace_back(r);
  EXPECT_TRUE(said(4, 10'000, [&](int rank, int64_t) {
                return std::uniform_real_distribution<>(0.9, 1.1)(random[static_cast<size_t>(rank)]);
              }).empty());
}

/// Slow for two reports, then not, then again; and a rank that never has a sample.
TEST(Stragglers, APassingDelayIsNone) {
  EXPECT_TRUE(said(2, 200, [](int rank, int64_t step) { return rank == 1 && step % 60 > 20 ? 2.0 : 1.0; }).empty());
  EXPECT_TRUE(said(1, 200, [](int, int64_t) { return 1.0; }).empty());
  run_ranks(2, [](Communicator& comm) {
    Stragglers stragglers(comm, "n");
    for (int i = 0; i < 100; ++i) EXPECT_EQ(stragglers.step(comm.rank() == 0 ? 10 : 0, comm.rank() == 0 ? 1 : 0), "");
  });
}

}  // namespace
}  // namespace fmtrain
