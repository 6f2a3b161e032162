// One leaf a rank whose gradients stay bf16 until they are added, beside plain sums in fp32.
#include <gtest/gtest.h>
#include <ATen/ATen.h>

#include <cstring>

#include "comm/thread_communicator.h"
#include "runtime/engine/leaf_window.h"

namespace fmtrain {
namespace {

constexpr int64_t kBucket = 4 << 20;

/// A table, a tensor in its bucket, and three in the next two, one of them in both; the second last is not narrow.
FlatLayout layout_of() {
  FlatLayout layout;
  const auto add = [&](std::vector<int64_t> shape) {
    int64_t numel = 1;
    for (const auto n : shape) numel *= n;
    layout.tensors.push_back({std::to_string(layout.tensors.size()), shape, layout.numel, numel, true});
    layout.numel += aligned(numel);
  };
  add({1000, 16}), add({5, 7}), add({kBucket}), add({kBucket - 4096, 1}), add({33}), add({8, 100});
  return layout;
}

const std::vector<bool> kNarrow{false, true, true, true, false, true};

/// Of every rank and tensor; bf16 where it is narrow.
std::vector<std::vector<at::Tensor>> gradients(int ranks, const FlatLayout& layout) {
  at::manual_seed(3);
  std::vector<std::vector<at::Tensor>> all(static_cast<size_t>(ranks));
  for (auto& of_rank : all)
    for (size_t t = 0; t < layout.tensors.size(); ++t) of_rank.push_back(at::randn(layout.tensors[t].shape).to(kNarrow[t] ? at::kBFloat16 : at::kFloat));
  return all;
}

class Sums : public testing::TestWithParam<bool> {};

TEST_P(Sums, AreThoseOfFp32) {
  const bool readable = GetParam();
  const auto layout = layout_of();
  const Table table{0, 0, 1000, 16};
  constexpr int kRanks = 3, kWithout = 2;  // a rank without a leaf
  constexpr size_t kMissing = 5;           // a tensor without a gradient
  const ShardPlan plan(layout.numel, kRanks);
  const auto of = gradients(kRanks, layout);
  ASSERT_EQ(plan.buckets(), 3u);
  for (const bool short_step : {false, true})
    run_ranks(kRanks, [&](Communicator& comm) {
      LeafWindow window(comm, layout, plan, kNarrow, table, readable);
      EXPECT_EQ(window.written_buckets(), readable ? 1u : 3u);
      auto shard = at::zeros({plan.shard_numel()});
      for (int step = 0; step < 2; ++step) {  // nothing is left over from the step before
        const bool leaf = !short_step || comm.rank() != kWithout;
        window.begin(leaf, 0);
        for (size_t t = 1; leaf && t < layout.tensors.size(); ++t)
          if (t != kMissing || step == 0) window.add(t, of[static_cast<size_t>(comm.rank())][t]);
        if (leaf) window.finish_leaf();
        for (size_t b = window.written_buckets(); b-- > 0;)
          window.reduce(b, shard.narrow(0, plan.shard_offset(b), plan.piece(b, comm.rank()).numel()), ReduceOp::kTreeSum).wait();
        std::vector<Range> put;
        window.reduce_rest(ReduceOp::kTreeSum, [&](Range range, const float* sums) {
          put.push_back(range);
          for (size_t b = 0; b < plan.buckets(); ++b) {
            const Range owned = plan.owned(b, comm.rank());
            for (int64_t i = std::max(owned.first, range.first); i < std::min(owned.last, range.last); ++i)
              shard.data_ptr<float>()[plan.shard_offset(b) + i - owned.first] = sums[i - range.first];
          }
        });
        EXPECT_EQ(put.size(), 3u);  // t1 shares the table's bucket, t2 as well, t4 is not narrow
        for (size_t b = window.written_buckets(); b < plan.buckets(); ++b) {  // from odd places, and across the ends of tensors
          const Range owned = plan.owned(b, comm.rank());
          std::vector<float> room(static_cast<size_t>(GradientPiece::kPart));
          for (int64_t i = owned.first, n = 1; i < owned.last; i += n, n = GradientPiece::kPart) {
            n = std::min(n, owned.last - i);
            std::copy_n(window.read({i, i + n}, room.data()), n, shard.data_ptr<float>() + plan.shard_offset(b) + i - owned.first);
          }
        }
        comm.barrier();
      }
      for (size_t t = 1; t < layout.tensors.size(); ++t) {
        std::vector<at::Tensor> x;
        for (int r = 0; r < kRanks; ++r) {
          const bool none = t == kMissing, without = short_step && r == kWithout;
          x.push_back(without ? at::full({layout.tensors[t].numel}, -0.0) : none ? at::zeros({layout.tensors[t].numel}) : of[static_cast<size_t>(r)][t].view(-1).to(at::kFloat));
        }
        const auto expected = (x[0] + x[1]) + x[2];
        const Range tensor{layout.tensors[t].offset, layout.tensors[t].offset + layout.tensors[t].numel};
        for (size_t b = 0; b < plan.buckets(); ++b) {
          const Range owned = plan.owned(b, comm.rank());
          const int64_t first = std::max(owned.first, tensor.first), last = std::min(owned.last, tensor.last);
          if (first >= last) continue;
          const auto mine = shard.narrow(0, plan.shard_offset(b) + first - owned.first, last - first), sums = expected.narrow(0, first - tensor.first, last - first);
          EXPECT_EQ(std::memcmp(mine.data_ptr(), sums.data_ptr(), mine.nbytes()), 0) << "tensor " << t << " bucket " << b;
        }
      }
    });
}

INSTANTIATE_TEST_SUITE_P(LeafWindow, Sums, testing::Values(false, true), [](const auto& test) { return test.param ? "read" : "written"; });

TEST(LeafWindow, AddsInTheOrderOfTheRanks) {
  constexpr int64_t kFirst = 5, kCount = 1000;
  at::manual_seed(3);
  for (const int ranks : {1, 2, 3, 4, 5, 8}) {
    // of magnitudes so different that another order has other bits
    const auto values = at::randn({ranks, kCount * ranks}) * at::pow(10.0, at::randint(-3, 4, {ranks, kCount * ranks}));
    run_ranks(ranks, [&](Communicator& comm) {
      const auto mine = comm.allocate(kCount * ranks, at::kBFloat16);
      mine.copy_(values[comm.rank()]);
      auto expected = at::empty({kCount}), sums = at::empty({kCount - kFirst});
      comm.reduce_scatter(expected, mine, ReduceOp::kTreeSum).wait();
      std::vector<const Bf16*> addends;
      for (const void* one : comm.of_all_ranks(mine.narrow(0, comm.rank() * kCount, kCount))) addends.push_back(static_cast<const Bf16*>(one));
      ASSERT_EQ(addends.size(), static_cast<size_t>(ranks));
      add_in_order(addends, kFirst, kCount - kFirst, sums.data_ptr<float>());
      EXPECT_TRUE(at::equal(sums, expected.narrow(0, kFirst, kCount - kFirst))) << comm.rank() << " of " << ranks;
      comm.barrier();
    });
  }
}

TEST(LeafWindow, RefusesWhatItWasNotMadeFor) {
  const auto layout = layout_of();
  const ShardPlan plan(layout.numel, 1);
  run_ranks(1, [&](Communicator& comm) {
    LeafWindow window(comm, layout, plan, kNarrow, Table{0, 0, 1000, 16}, false);
    window.begin(true, 0);
    EXPECT_THROW(window.add(3, at::zeros({kBucket - 4096, 1})), c10::Error);
    window.add(4, at::zeros({33}));
    EXPECT_THROW(window.add(4, at::zeros({33})), c10::Error);
    EXPECT_FALSE(window.place_for(4).defined());  // fp32
    const auto place = window.place_for(3);
    EXPECT_EQ(place.sizes(), at::IntArrayRef({kBucket - 4096, 1}));
  });
}

}  // namespace
}  // namespace fmtrain
