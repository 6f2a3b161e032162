#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>

#include "runtime/watch/board.h"
#include "runtime/watch/deadline.h"

namespace fmtrain {
namespace {

/// Looks every 2 s until the deadline expires or `end`; the time of expiry, or -1.
double expiry(Deadline& deadline, double from, double end, const std::string& phase, uint64_t progress) {
  for (double t = from; t <= end; t += 2)
    if (deadline.expired(t, phase, progress)) return t;
  return -1;
}

TEST(Deadline, OfAPhaseEndsAtTheFirstLookAfterIt) {
  for (const char* phase : {"init", "load", "evaluate", "checkpoint", "report"}) {
    Deadline deadline({600, 60}, 2);
    EXPECT_EQ(expiry(deadline, 0, 2000, phase, 1), 602) << phase;
  }
}

TEST(Deadline, OfTheFirstStepIsThatOfAPhase) {
  Deadline deadline({600, 60}, 2);
  EXPECT_EQ(expiry(deadline, 0, 2000, "train", 1), 602);
}

/// {seconds a step, the deadline}: the floor, or 10 medians.
TEST(Deadline, OfAStepFollowsTheMedian) {
  const std::pair<double, double> cases[] = {{2, 60}, {6, 60}, {8, 80}, {20, 200}};
  for (const auto& [step, limit] : cases) {
    Deadline deadline({600, 60}, 2);
    double t = 0;
    for (uint64_t done = 0; done < 60; ++done)
      for (const double next = t + step; t < next; t += 2) ASSERT_FALSE(deadline.expired(t, "train", done)) << t;
    ASSERT_FALSE(deadline.expired(t, "train", 60));
    EXPECT_EQ(deadline.limit(), limit);
    EXPECT_EQ(expiry(deadline, t + 2, t + 2000, "train", 60), t + limit + 2);
  }
}

/// The first batch has the deadline of a phase, the others follow their own median, which outlasts the steps between evaluations.
TEST(Deadline, OfAnEvaluationBatchFollowsTheMedianOfBatches) {
  Deadline deadline({600, 60}, 2);
  EXPECT_FALSE(deadline.expired(0, "evaluate", 0));
  EXPECT_EQ(deadline.limit(), 600);
  double t = 2;
  uint64_t done = 1;
  for (; done <= 10; ++done)
    for (int i = 0; i < 10; ++i, t += 2) ASSERT_FALSE(deadline.expired(t, "evaluate", done)) << t;
  EXPECT_EQ(deadline.limit(), 200);
  for (; done <= 20; ++done, t += 2) ASSERT_FALSE(deadline.expired(t, "train", done)) << t;
  EXPECT_EQ(deadline.limit(), 60);
  ASSERT_FALSE(deadline.expired(t, "metrics", done));
  EXPECT_EQ(deadline.limit(), 600);
  EXPECT_EQ(expiry(deadline, t + 2, t + 2000, "evaluate", done + 1), t + 2 + 202);
}

TEST(Deadline, OnlyTheLast50StepsCount) {
  Deadline deadline({600, 60}, 2);
  double t = 0;
  uint64_t done = 0;
  for (; done < 100; ++done)
    for (int i = 0; i < 10; ++i, t += 2) deadline.expired(t, "train", done);
  EXPECT_EQ(deadline.limit(), 200);
  for (; done < 151; ++done, t += 2) deadline.expired(t, "train", done);
  EXPECT_EQ(deadline.limit(), 60);
}

TEST(Deadline, AnyProgressStartsItAnew) {
  Deadline deadline({600, 60}, 2);
  uint64_t batches = 0;
  for (double t = 0; t < 10000; t += 2) {
    if (std::fmod(t, 500) == 0) ++batches;
    ASSERT_FALSE(deadline.expired(t, "evaluate", batches)) << t;
  }
}

/// A suspended job: the clock ran on, the watchdog did not look.
TEST(Deadline, ALateLookStartsItAnew) {
  Deadline deadline({600, 60}, 2);
  EXPECT_EQ(expiry(deadline, 0, 590, "load", 1), -1);
  EXPECT_FALSE(deadline.expired(5000, "load", 1));
  EXPECT_EQ(expiry(deadline, 5002, 9000, "load", 1), 5602);
}

RankState state(int64_t rank, uint64_t issued, double silent = 0, bool stopped = false, uint64_t meetings = 4) {
  return {rank, 100 + rank, 5, issued, meetings, silent, stopped, "train", {}};
}

TEST(Culprit, IsTheStoppedElseTheSilentElseTheOneBehind) {
  const struct { std::vector<RankState> ranks; int64_t expected; } cases[] = {
      {{state(0, 9), state(1, 9), state(2, 9, 0, true)}, 2},
      {{state(0, 8), state(1, 9, 0, true), state(2, 9, 50)}, 1},
      {{state(0, 8), state(1, 9), state(2, 9, 50)}, 2},
      {{state(0, 9), state(1, 8), state(2, 9)}, 1},
      {{state(0, 9), state(1, 9), state(2, 9)}, -1},
      {{state(0, 8), state(1, 8), state(2, 9)}, -1},
      {{state(0, 9), state(1, 9, 0, false, 3), state(2, 9)}, 1},  // the others are a barrier ahead
      {{state(0, 9, 0, false, 3), state(1, 8, 0, false, 4), state(2, 9, 0, false, 3)}, 1},
      {{state(0, 8)}, -1},
  };
  for (size_t i = 0; i < std::size(cases); ++i) {
    const auto found = culprit(cases[i].ranks, 7);
    EXPECT_EQ(found ? found->rank : -1, cases[i].expected) << "case " << i;
  }
}

TEST(Culprit, IsDescribed) {
  EXPECT_EQ(describe(state(3, 9, 0, true), "n7"), "rank 3 on n7 (process 103, stopped), in train, step 5");
}

TEST(Collectives, AreDescribed) {
  EXPECT_EQ(describe(Collective{17, Collective::Op::kAllReduce, 4096, Collective::State::kRunning, 10}, 13.2),
            "all_reduce of 4096 bytes (collective 17, running for 3 s)");
  EXPECT_EQ(describe(Collective{18, Collective::Op::kAllGather, 64, Collective::State::kIssued, 10, Group::kNode}, 12),
            "all_gather of a node of 64 bytes (collective 18, issued for 2 s)");
}

TEST(ProcessStopped, SeesStopAndContinue) {
  const pid_t child = fork();
  if (child == 0)
    for (;;) pause();
  EXPECT_FALSE(process_stopped(child));
  kill(child, SIGSTOP);
  int status = 0;
  waitpid(child, &status, WUNTRACED);
  EXPECT_TRUE(process_stopped(child));
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  EXPECT_FALSE(process_stopped(child));
}

}  // namespace
}  // namespace fmtrain
