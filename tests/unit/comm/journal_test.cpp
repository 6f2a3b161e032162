#include "comm/journal.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <thread>

#include "comm/group.h"
#include "comm/recording_communicator.h"
#include "comm/thread_communicator.h"

namespace fmtrain {
namespace {

using Op = Collective::Op;
using State = Collective::State;

TEST(Journal, KeepsTheLast64) {
  Journal journal{};
  EXPECT_TRUE(journal.last().empty());
  for (int i = 1; i <= 100; ++i) {
    EXPECT_EQ(journal.issue(Op::kAllReduce, 8 * i), static_cast<uint64_t>(i));
    journal.set(static_cast<uint64_t>(i), State::kDone);
  }
  const auto last = journal.last();
  ASSERT_EQ(last.size(), 64u);
  for (size_t i = 0; i < last.size(); ++i) {
    EXPECT_EQ(last[i].seq, 37 + i);
    EXPECT_EQ(last[i].bytes, static_cast<int64_t>(8 * (37 + i)));
  }
  journal.set(1, State::kRunning);  // long overwritten
  EXPECT_EQ(journal.last().back().state, State::kDone);
}

TEST(Journal, ToldWhileItIsWrittenIsNeverMixed) {
  Journal journal{};
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop) {
      const uint64_t next = journal.issued() + 1;
      journal.issue(static_cast<Op>(next % 6), static_cast<int64_t>(next * 3));
    }
  });
  for (int i = 0; i < 20'000; ++i)
    for (const auto& one : journal.last()) {
      ASSERT_EQ(one.bytes, static_cast<int64_t>(one.seq * 3));
      ASSERT_EQ(one.op, static_cast<Op>(one.seq % 6));
    }
  stop = true;
  writer.join();
}

TEST(RecordingCommunicator, TellsWhatIsIssuedRunningAndDone) {
  run_ranks(2, [](Communicator& inner) {
    Journal journal{};
    const auto comm = make_recording_communicator(inner, journal);
    const auto memory = comm->allocate(6, at::kFloat), part = at::zeros({3});
    auto sum = comm->all_reduce(memory, ReduceOp::kSum);
    auto scattered = comm->reduce_scatter(part, memory, ReduceOp::kTreeSum);
    EXPECT_EQ(journal.last().at(1).state, State::kIssued);
    sum.wait();
    auto moved = std::move(scattered);
    moved.wait();
    moved.wait();  // the second one is nothing
    comm->all_gather(memory, part).wait();
    comm->broadcast(memory, 1).wait();
    comm->barrier();
    comm->refresh();
    const std::pair<Op, int64_t> expected[] = {{Op::kAllocate, 24}, {Op::kAllReduce, 24}, {Op::kReduceScatter, 24}, {Op::kAllGather, 24},
                                               {Op::kBroadcast, 24}, {Op::kBarrier, 0}};
    const auto last = journal.last();
    ASSERT_EQ(last.size(), std::size(expected));
    for (size_t i = 0; i < last.size(); ++i) {
      EXPECT_EQ(std::pair(last[i].op, last[i].bytes), expected[i]) << i;
      EXPECT_EQ(last[i].state, State::kDone) << i;
    }
  });
}

/// In the one journal of the rank, in the order of its calls, with equal numbers on all ranks.
TEST(RecordingCommunicator, TellsOfPartsToo) {
  run_ranks(4, [](Communicator& inner) {
    Journal journal{};
    const auto comm = make_recording_communicator(inner, journal);
    Communicator& node = comm->split(comm->rank() / 2, Group::kNode);
    Communicator& across = comm->split(comm->rank() % 2, Group::kAcross);
    const auto memory = node.allocate(6, at::kFloat);
    auto shard = memory.narrow(0, 3 * node.rank(), 3);
    node.reduce_scatter(shard, memory, ReduceOp::kSum).wait();
    across.all_reduce(shard, ReduceOp::kSum).wait();
    comm->barrier();
    const std::tuple<Op, int64_t, Group> expected[] = {{Op::kBarrier, 0, Group::kWorld}, {Op::kBarrier, 0, Group::kWorld}, {Op::kAllocate, 24, Group::kNode},
                                                       {Op::kReduceScatter, 24, Group::kNode}, {Op::kAllReduce, 12, Group::kAcross},
                                                       {Op::kBarrier, 0, Group::kWorld}};
    const auto last = journal.last();
    ASSERT_EQ(last.size(), std::size(expected));
    for (size_t i = 0; i < last.size(); ++i) {
      EXPECT_EQ(std::tuple(last[i].op, last[i].bytes, last[i].group), expected[i]) << i;
      EXPECT_EQ(last[i].state, State::kDone) << i;
      EXPECT_EQ(last[i].seq, i + 1);
    }
  });
}

TEST(RecordingCommunicator, OneThatFailsStaysRunning) {
  Journal journal{};
  EXPECT_ANY_THROW(run_ranks(2, [&](Communicator& inner) {
    if (inner.rank() == 1) return inner.broadcast(at::zeros({1}), 0).wait();
    make_recording_communicator(inner, journal)->barrier();
  }));
  ASSERT_EQ(journal.last().size(), 1u);
  EXPECT_EQ(journal.last()[0].state, State::kRunning);
}

}  // namespace
}  // namespace fmtrain
