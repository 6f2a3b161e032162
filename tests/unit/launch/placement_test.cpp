// The lines at the start of a run that say where each rank runs.
#include "launch/placement.h"

#include <gmock/gmock.h>
#include <sched.h>

#include <thread>

#include "comm/thread_communicator.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;

TEST(Placement, ALineSaysWhatARankHas) {
  EXPECT_EQ(line_of({3, 1, "n2", 1, "GPU-9", 4, {8, 9, 10, 11}}), "rank 3, local rank 1 on n2: cuda:1, 4 threads, CPUs 8-11");
  EXPECT_EQ(line_of({0, 0, "n1", -1, "", 1, {0}}), "rank 0, local rank 0 on n1: cpu, 1 thread, CPUs 0");
}

TEST(Placement, UnknownCpusAreSaidToBe) {
  EXPECT_THAT(line_of({0, 0, "n1", -1, "", 1, {}}), testing::EndsWith(", CPUs unknown"));
}

TEST(Placement, ALongListIsCut) {
  std::vector<int> odd;
  for (int cpu = 1; cpu < 200; cpu += 2) odd.push_back(cpu);
  const auto line = line_of({0, 0, "n1", -1, "", 1, odd});
  EXPECT_THAT(line, testing::StartsWith("rank 0, local rank 0 on n1: cpu, 1 thread, CPUs 1,3,5"));
  EXPECT_THAT(line, testing::EndsWith("..."));
  EXPECT_LT(line.size(), 120u);
}

TEST(Placement, TheMaskIsTheOneThatLinuxHolds) {
  std::thread([] {  // of a thread of its own: this one's stays
    cpu_set_t all;
    ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    int last = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &all)) last = cpu;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_THAT(own_cores(), ElementsAre(last));
  }).join();
}

TEST(Placement, AllRanksSayTheirsInOrder) {
  run_ranks(3, [](Communicator& comm) {
    const std::string hosts[] = {"n0", "n1", "n2"};
    const auto lines = placement_lines(comm, {comm.rank(), 0, hosts[comm.rank()], -1, "", 2, {comm.rank()}});
    EXPECT_THAT(lines, ElementsAre("rank 0, local rank 0 on n0: cpu, 2 threads, CPUs 0",
                                   "rank 1, local rank 0 on n1: cpu, 2 threads, CPUs 1",
                                   "rank 2, local rank 0 on n2: cpu, 2 threads, CPUs 2"));
  });
}

TEST(Placement, OfManyRanksTheRestIsCounted) {
  run_ranks(35, [](Communicator& comm) {
    std::vector<int> odd;
    for (int cpu = 1; cpu < 200; cpu += 2) odd.push_back(cpu);
    const RankPlace longest{comm.rank(), comm.rank(), std::string(255, 'h'), -1, "", 1, odd};
    const auto lines = placement_lines(comm, longest);
    ASSERT_EQ(lines.size(), 33u);
    EXPECT_THAT(lines[31], testing::AllOf(testing::StartsWith("rank 31,"), testing::EndsWith("...")));
    EXPECT_EQ(lines[32], "and 3 ranks more");
  });
}

}  // namespace
}  // namespace fmtrain
