#include "tests/multirank/comm_contract.h"

#include <gmock/gmock.h>
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <tuple>

#include "comm/errors.h"
#include "tests/multirank/comm_values.h"

namespace fmtrain {
namespace {

/// 64 Ki and 2 Mi elements pass through a scratch window in several pieces.
const std::vector<int64_t> kSizes{0, 1, 3, 64, 1023, 65'537, (1 << 20) + 5};

/// Small whole numbers that differ by rank and place: their sums are exact in every dtype and every order.
at::Tensor integers(int rank, int64_t numel, at::ScalarType dtype) {
  return (at::arange(numel, at::kInt).mul_(31).add_(1009 * (rank + 1)).bitwise_and_(1023) - 400).to(dtype);
}

using Values = at::Tensor (*)(int, int64_t, at::ScalarType);

std::vector<at::Tensor> of_all_ranks(int size, int64_t numel, at::ScalarType dtype, Values values) {
  std::vector<at::Tensor> all;
  for (int r = 0; r < size; ++r) all.push_back(values(r, numel, dtype));
  return all;
}

/// Kept, for tests and ranks ask for the same sums again and again.
at::Tensor tree_of_all(int size, int64_t numel, at::ScalarType dtype, Values values = integers) {
  static std::mutex mutex;
  static std::map<std::tuple<int, int64_t, at::ScalarType, Values>, at::Tensor> known;
  const std::lock_guard lock(mutex);
  auto& sum = known[{size, numel, dtype, values}];
  if (!sum.defined()) sum = documented_tree(of_all_ranks(size, numel, dtype, values), 0, static_cast<size_t>(size)).clone();
  return sum;
}

enum class Memory { kOwn, kForeign, kMixed };

/// Places tensors in memory of allocate(), or elsewhere. One allocation a run, for it is slow under MPI.
class Placer {
 public:
  Placer(Communicator& comm, Memory memory)
      : foreign_(memory == Memory::kForeign || (memory == Memory::kMixed && comm.rank() % 2 == 1)), bytes_(comm.allocate(9 << 20, at::kByte)) {}
  /// Until the next reset(), each in a place of its own.
  at::Tensor operator()(const at::Tensor& values) {
    if (foreign_) return values.to(bytes_.device(), /*non_blocking=*/false, /*copy=*/true);
    const auto size = static_cast<int64_t>(values.nbytes());
    auto own = bytes_.narrow(0, used_, size).view(values.scalar_type());
    used_ += (size + 63) / 64 * 64;
    own.copy_(values);
    return own;
  }
  void reset() { used_ = 0; }

 private:
  bool foreign_;
  at::Tensor bytes_;
  int64_t used_ = 0;
};

class Contract : public testing::TestWithParam<Backend> {
 protected:
  /// Runs body for allocate() memory, for memory of elsewhere, and for some ranks with this and some with that.
  static void each_memory(const std::function<void(Communicator&, Placer&)>& body) {
    for (const auto memory : {Memory::kOwn, Memory::kForeign, Memory::kMixed})
      if (memory == Memory::kOwn || GetParam().foreign_memory)
        GetParam().run([&](Communicator& comm) {
          Placer placed(comm, memory);
          body(comm, placed);
        });
  }
};

TEST_P(Contract, AllocatedMemoryIsZeroAndAligned) {
  GetParam().run([](Communicator& comm) {
    for (const auto& [dtype, numel] : {std::pair{at::kFloat, 0}, {at::kByte, 1}, {at::kDouble, 1000}, {at::kLong, 65'537}, {at::kBFloat16, 3}}) {
      const auto t = comm.allocate(numel, dtype);
      EXPECT_EQ(t.numel(), numel);
      EXPECT_EQ(t.scalar_type(), dtype);
      EXPECT_EQ(t.device().type(), GetParam().device);
      EXPECT_EQ(t.ne(0).sum().item<int64_t>(), 0);
      EXPECT_TRUE(numel == 0 || reinterpret_cast<uintptr_t>(t.data_ptr()) % 64 == 0);
    }
  });
}

TEST_P(Contract, RanksThatShareMemoryReadEachOthers) {
  GetParam().run([](Communicator& comm) {
    const auto memory = comm.allocate(100, at::kLong);
    memory.fill_(comm.rank());
    comm.barrier();
    const auto all = comm.of_all_ranks(memory.narrow(0, 40, 10));
    if (!memory.is_cpu() || comm.sharers() < comm.size()) {
      EXPECT_TRUE(all.empty());
    } else {
      ASSERT_EQ(all.size(), static_cast<size_t>(comm.size()));
      for (int r = 0; r < comm.size(); ++r)
        for (int64_t i = 0; i < 10; ++i) EXPECT_EQ(static_cast<const int64_t*>(all[static_cast<size_t>(r)])[i], r);
    }
    if (comm.size() > 1) {
      EXPECT_TRUE(comm.of_all_ranks(at::zeros({10}, at::kLong)).empty());
    }
    comm.barrier();
  });
}

TEST_P(Contract, AllReduceAddsWholeNumbers) {
  each_memory([](Communicator& comm, Placer& placed) {
    for (const auto dtype : {at::kFloat, at::kDouble, at::kLong, at::kInt})
      for (const auto op : {ReduceOp::kTreeSum, ReduceOp::kSum})
        for (const int64_t numel : kSizes) {
          if (numel > 70'000 && (dtype != at::kFloat || op == ReduceOp::kSum)) continue;
          placed.reset();
          auto x = placed(integers(comm.rank(), numel, dtype));
          comm.all_reduce(x, op).wait();
          EXPECT_TRUE(same_bits(x, tree_of_all(comm.size(), numel, dtype))) << numel << " " << dtype;
        }
  });
}

TEST_P(Contract, TreeSumHasTheBitsOfTheDocumentedTree) {
  each_memory([](Communicator& comm, Placer& placed) {
    for (const auto dtype : {at::kFloat, at::kDouble})
      for (const int64_t numel : {1, 1023, 65'537}) {
        const auto expected = tree_of_all(comm.size(), numel, dtype, reals);
        placed.reset();
        auto x = placed(reals(comm.rank(), numel, dtype));
        comm.all_reduce(x, ReduceOp::kTreeSum).wait();
        EXPECT_TRUE(same_bits(x, expected)) << numel << " " << dtype;
        // in an order that is not the tree's own mirror image the bits differ, so the comparison can fail
        auto all = of_all_ranks(comm.size(), numel, dtype, reals);
        std::reverse(all.begin(), all.end());
        const bool symmetric = (comm.size() & (comm.size() - 1)) == 0;
        EXPECT_TRUE(symmetric || numel == 1 || !same_bits(x, documented_tree(all, 0, all.size())));
      }
  });
}

TEST_P(Contract, AllReduceTakesTheMaximumAndKeepsNaN) {
  each_memory([](Communicator& comm, Placer& placed) {
    for (const auto dtype : {at::kFloat, at::kDouble, at::kLong, at::kInt}) {
      auto expected = integers(0, 1023, dtype);
      for (int r = 1; r < comm.size(); ++r) expected = at::maximum(expected, integers(r, 1023, dtype));
      auto x = placed(integers(comm.rank(), 1023, dtype));
      comm.all_reduce(x, ReduceOp::kMax).wait();
      EXPECT_TRUE(same_bits(x, expected)) << dtype;
    }
    for (int source = 0; source < comm.size(); ++source) {
      auto x = placed(at::full({2}, comm.rank() == source ? NAN : 1.0));
      comm.all_reduce(x, ReduceOp::kMax).wait();
      EXPECT_TRUE(std::isnan(x[0].item<double>())) << source;
    }
  });
}

TEST_P(Contract, ReduceScatterGivesEachRankItsPiece) {
  each_memory([](Communicator& comm, Placer& placed) {
    for (const auto op : {ReduceOp::kTreeSum, ReduceOp::kSum})
      for (const int64_t numel : {0, 1, 3, 1023, 65'537, (1 << 20) / comm.size() + 1}) {
        placed.reset();
        auto full = placed(integers(comm.rank(), numel * comm.size(), at::kFloat));
        auto shard = at::full({numel}, -1.0, full.options());
        comm.reduce_scatter(shard, full, op).wait();
        const auto sum = tree_of_all(comm.size(), numel * comm.size(), at::kFloat);
        EXPECT_TRUE(same_bits(shard, sum.narrow(0, comm.rank() * numel, numel))) << numel;
      }
    placed.reset();
    auto full = placed(reals(comm.rank(), 1023 * comm.size(), at::kFloat));
    auto shard = full.narrow(0, comm.rank() * 1023, 1023);  // a rank's own piece of full
    comm.reduce_scatter(shard, full, ReduceOp::kTreeSum).wait();
    EXPECT_TRUE(same_bits(shard, tree_of_all(comm.size(), 1023 * comm.size(), at::kFloat, reals).narrow(0, comm.rank() * 1023, 1023)));
  });
}

TEST_P(Contract, ReduceScatterWidensBf16BeforeItAdds) {
  if (GetParam().device != at::kCPU) GTEST_SKIP() << "on the CPU only";
  each_memory([](Communicator& comm, Placer& placed) {
    const auto narrow = [](int rank, int64_t numel, at::ScalarType type) { return reals(rank, numel, at::kFloat).to(at::kBFloat16).to(type); };
    for (const int64_t numel : {0, 1, 3, 1023, 65'537, (1 << 20) / comm.size() + 1}) {
      placed.reset();
      auto full = placed(narrow(comm.rank(), numel * comm.size(), at::kBFloat16));
      auto shard = at::full({numel}, -1.0, at::kFloat);
      comm.reduce_scatter(shard, full, ReduceOp::kTreeSum).wait();
      EXPECT_TRUE(same_bits(shard, tree_of_all(comm.size(), numel * comm.size(), at::kFloat, narrow).narrow(0, comm.rank() * numel, numel))) << numel;
    }
  });
}

TEST_P(Contract, AllGatherLaysTheShardsInRankOrder) {
  each_memory([](Communicator& comm, Placer& placed) {
    for (const auto dtype : {at::kFloat, at::kLong, at::kByte, at::kBFloat16})
      for (const int64_t numel : {0, 1, 3, 1023, 65'537, (1 << 20) / comm.size() + 1}) {
        const auto expected = at::cat(of_all_ranks(comm.size(), numel, dtype, integers));
        for (const bool inside : {false, true}) {
          placed.reset();
          auto full = placed(at::zeros({numel * comm.size()}, dtype));
          auto shard = full.narrow(0, comm.rank() * numel, numel);
          if (inside) shard.copy_(integers(comm.rank(), numel, dtype));
          else shard = integers(comm.rank(), numel, dtype).to(full.device());
          comm.all_gather(full, shard).wait();
          EXPECT_TRUE(same_bits(full, expected)) << numel << " " << dtype << " " << inside;
        }
      }
  });
}

TEST_P(Contract, SharedMemoryIsFilledByEveryRanksPiece) {
  GetParam().run([](Communicator& comm) {
    for (const int64_t numel : {1, 1023, 65'537}) {
      auto full = comm.allocate_shared(numel * comm.size(), at::kFloat);
      EXPECT_EQ(full.ne(0).sum().item<int64_t>(), 0);
      comm.barrier();
      for (int round = 0; round < 3; ++round) {
        auto own = full.narrow(0, comm.rank() * numel, numel);
        own.copy_(integers(comm.rank() + round, numel, at::kFloat));
        comm.all_gather(full, own).wait();
        std::vector<at::Tensor> all;
        for (int r = 0; r < comm.size(); ++r) all.push_back(integers(r + round, numel, at::kFloat));
        EXPECT_TRUE(same_bits(full, at::cat(all))) << numel << " round " << round;
        comm.barrier();  // all have looked before anyone writes again
      }
      auto outside = integers(comm.rank(), numel, at::kFloat).to(full.device());
      comm.all_gather(full, outside).wait();
      EXPECT_TRUE(same_bits(full, at::cat(of_all_ranks(comm.size(), numel, at::kFloat, integers)))) << numel << " from outside";
    }
  });
}

TEST_P(Contract, BroadcastFromEveryRoot) {
  each_memory([](Communicator& comm, Placer& placed) {
    for (const auto dtype : {at::kFloat, at::kLong, at::kByte})
      for (const int64_t numel : kSizes)
        for (int root = 0; root < comm.size(); ++root) {
          if (numel > 100'000 && (dtype != at::kFloat || root % 3 != 0)) continue;
          placed.reset();
          auto x = placed(integers(comm.rank(), numel, dtype));
          comm.broadcast(x, root).wait();
          EXPECT_TRUE(same_bits(x, integers(root, numel, dtype))) << numel << " from " << root;
        }
  });
}

/// No rank passes a barrier before all have come: each adds to a count and finds it full behind the barrier.
TEST_P(Contract, BarrierLetsNobodyThroughEarly) {
  GetParam().run([](Communicator& comm) {
    for (int round = 1; round <= 50; ++round) {
      auto late = at::full({1}, comm.rank() == round % comm.size() ? 1 : 0, at::device(GetParam().device).dtype(at::kLong));
      auto work = comm.all_reduce(late, ReduceOp::kSum);
      comm.barrier();
      work.wait();
      EXPECT_EQ(late.item<int64_t>(), 1);
    }
  });
}

TEST_P(Contract, ManyWorksInFlightEndInAnyOrder) {
  constexpr int kWorks = 150;  // more than a communicator keeps open
  each_memory([](Communicator& comm, Placer& placed) {
    std::vector<at::Tensor> buffers;
    for (int i = 0; i < kWorks; ++i) buffers.push_back(placed(integers(comm.rank() + i, 100 + i, at::kFloat)));
    std::vector<Work> works;
    for (auto& buffer : buffers) works.push_back(comm.all_reduce(buffer, ReduceOp::kTreeSum));
    // each rank in an order of its own, a third of them left to their destructors
    for (int i = 0; i < kWorks; ++i)
      if (i % 3 != 0) works[static_cast<size_t>((i * 7 + comm.rank()) % kWorks)].wait();
    works.clear();
    for (int i = 0; i < kWorks; ++i) {
      auto expected = integers(i, 100 + i, at::kFloat);
      for (int r = 1; r < comm.size(); ++r) expected = expected + integers(r + i, 100 + i, at::kFloat);
      EXPECT_TRUE(same_bits(buffers[static_cast<size_t>(i)], expected)) << i;
    }
  });
}

TEST_P(Contract, PartsOfOneAllocationAreReducedOneByOne) {
  GetParam().run([](Communicator& comm) {
    auto all = comm.allocate(10'000, at::kFloat);
    all.copy_(reals(comm.rank(), 10'000, at::kFloat));
    std::vector<Work> works;
    for (const auto& [first, last] : {std::pair{7001, 10'000}, {128, 7001}, {0, 128}})
      works.push_back(comm.all_reduce(all.narrow(0, first, last - first), ReduceOp::kTreeSum));
    for (auto& work : works) work.wait();
    EXPECT_TRUE(same_bits(all, tree_of_all(comm.size(), 10'000, at::kFloat, reals)));
  });
}

TEST_P(Contract, WrongArgumentsThrowOnEveryRankAndLeaveTheWorldUsable) {
  GetParam().run([](Communicator& comm) {
    const auto on = at::device(GetParam().device).dtype(at::kFloat);
    const int size = comm.size();
    const auto x = at::zeros({4}, on), full = at::zeros({4 * size}, on);
    const auto rejects = [](const std::function<Work()>& call) { EXPECT_THROW(call().wait(), c10::Error); };
    rejects([&] { return comm.all_reduce(at::zeros({4, 4}, on).t(), ReduceOp::kTreeSum); });   // not contiguous
    rejects([&] { return comm.all_reduce(at::zeros({4}, on.dtype(at::kByte)), ReduceOp::kSum); });  // no such sum
    rejects([&] { return comm.all_reduce({}, ReduceOp::kSum); });
    rejects([&] { return comm.reduce_scatter(x, at::zeros({4 * size + 1}, on), ReduceOp::kSum); });
    rejects([&] { return comm.reduce_scatter(x, full.to(at::kDouble), ReduceOp::kSum); });
    rejects([&] { return comm.reduce_scatter(x.to(at::kDouble), full.to(at::kBFloat16), ReduceOp::kSum); });
    rejects([&] { return comm.reduce_scatter(x.to(at::kBFloat16), full.to(at::kBFloat16), ReduceOp::kSum); });
    rejects([&] { return comm.all_gather(at::zeros({4 * size - 1}, on), x); });
    rejects([&] { return comm.all_gather(full, x.to(at::kInt)); });
    rejects([&] { return comm.broadcast(x, size); });
    rejects([&] { return comm.broadcast(x, -1); });
    rejects([&] { return comm.all_reduce(at::zeros({4}, on.device(at::kMeta)), ReduceOp::kSum); });  // another device
    EXPECT_THROW(comm.allocate(-1, at::kFloat), c10::Error);
    auto one = at::ones({1}, on);
    comm.all_reduce(one, ReduceOp::kSum).wait();
    EXPECT_EQ(one.item<int>(), size);
  });
}

TEST_P(Contract, DifferentCallsThrowOnEveryRank) {
  if (!GetParam().run_to_ruin) GTEST_SKIP() << "this backend does not compare the ranks' calls";
  const std::vector<std::function<void(Communicator&, bool)>> calls{
      [](Communicator& comm, bool odd) { comm.all_reduce(at::zeros({odd ? 5 : 4}), ReduceOp::kSum).wait(); },
      [](Communicator& comm, bool odd) { comm.all_reduce(at::zeros({4}), odd ? ReduceOp::kMax : ReduceOp::kSum).wait(); },
      [](Communicator& comm, bool odd) { comm.broadcast(at::zeros({4}), odd ? 1 : 0).wait(); },
      [](Communicator& comm, bool odd) { comm.allocate(odd ? 5 : 4, at::kFloat); },
      [](Communicator& comm, bool odd) {
        if (odd) return comm.barrier();
        comm.all_reduce(at::zeros({4}), ReduceOp::kSum).wait();
      }};
  for (const auto& call : calls)
    GetParam().run_to_ruin([&](Communicator& comm) {
      if (comm.size() == 1) return;
      try {
        call(comm, comm.rank() == 1);
        ADD_FAILURE() << "nothing is thrown";
      } catch (const CallsDiffer& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr(comm.size() > 2 ? "at fault: rank 1 on " : "rank 0 on "));
      } catch (const c10::Error&) {  // threads of one process are not named
      }
    });
}

INSTANTIATE_TEST_SUITE_P(Backends, Contract, testing::ValuesIn(backends()), [](const auto& backend) { return backend.param.name; });

}  // namespace
}  // namespace fmtrain
