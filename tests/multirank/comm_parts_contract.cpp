// The contract's part on parts: what Communicator::split makes is a world like any other.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>

#include "comm/group.h"
#include "tests/multirank/comm_contract.h"
#include "tests/multirank/comm_values.h"

namespace fmtrain {
namespace {

class Parts : public testing::TestWithParam<Backend> {};

/// Reduces, scatters, gathers and shares among `ranks` of the world, whose part this is.
void expect_tree_sum(Communicator& part, const std::vector<int>& ranks) {
  const int64_t each = 1023, numel = each * part.size();
  std::vector<at::Tensor> all;
  for (const int rank : ranks) all.push_back(reals(rank, numel, at::kFloat));
  const auto sum = documented_tree(all, 0, all.size());
  const auto full = part.allocate(numel, at::kFloat), shard = part.allocate(each, at::kFloat);
  full.copy_(all[static_cast<size_t>(part.rank())]);
  part.reduce_scatter(shard, full, ReduceOp::kTreeSum).wait();
  EXPECT_TRUE(same_bits(shard, sum.narrow(0, part.rank() * each, each)));
  const auto shared = part.allocate_shared(numel, at::kFloat);
  part.all_gather(shared, shard).wait();
  EXPECT_TRUE(same_bits(shared, sum));
  auto foreign = all[static_cast<size_t>(part.rank())].to(full.device(), /*non_blocking=*/false, /*copy=*/true);
  part.all_reduce(foreign, ReduceOp::kTreeSum).wait();
  EXPECT_TRUE(same_bits(foreign, sum));
  part.broadcast(foreign, part.size() - 1).wait();
  part.barrier();
}

TEST_P(Parts, NodesAreTheRanksThatShareMemory) {
  GetParam().run([](Communicator& comm) {
    const auto nodes = comm.nodes();
    ASSERT_EQ(nodes.size(), static_cast<size_t>(comm.size()));
    const auto here = std::count(nodes.begin(), nodes.end(), nodes[static_cast<size_t>(comm.rank())]);
    if (GetParam().device == at::kCPU) {
      EXPECT_EQ(here, comm.sharers());
    }
    EXPECT_GE(here, 1);
  });
}

/// Each part, whatever its color and size, is a world with all collectives, and so is a part of it.
TEST_P(Parts, AreWorldsOfTheirOwn) {
  GetParam().run([](Communicator& comm) {
    const std::function<int(int)> colors[] = {[](int) { return 7; }, [](int r) { return r % 2; }, [](int r) { return r / 2; },
                                              [](int r) { return -r; }};
    for (const auto& color_of : colors) {
      std::vector<int> mine;
      for (int r = 0; r < comm.size(); ++r)
        if (color_of(r) == color_of(comm.rank())) mine.push_back(r);
      Communicator& part = comm.split(std::abs(color_of(comm.rank())), Group::kNode);
      ASSERT_EQ(part.size(), std::ssize(mine));
      ASSERT_EQ(mine[static_cast<size_t>(part.rank())], comm.rank());
      EXPECT_LE(part.sharers(), part.size());
      expect_tree_sum(part, mine);
      expect_tree_sum(part.split(1, Group::kAcross), mine);
      auto everywhere = at::ones({1}, at::device(GetParam().device).dtype(at::kFloat));
      comm.all_reduce(everywhere, ReduceOp::kSum).wait();  // parts and whole take turns
      EXPECT_EQ(everywhere.item<int>(), comm.size());
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Backends, Parts, testing::ValuesIn(backends()), [](const auto& backend) { return backend.param.name; });

}  // namespace
}  // namespace fmtrain
