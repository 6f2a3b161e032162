// What the GPU kernels compute for one index, run on the CPU, and the choice of devices with GPUs that are not there.
#include <gmock/gmock.h>
#include <ATen/ATen.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <string>

#include "comm/gpu.h"
#include "comm/tree_fold.h"
#include "comm/tree_reduce.h"
#include "launch/device.h"
#include "models/ops/dropout.h"
#include "models/ops/gpu_kernels.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

bool loaded(const std::string& library) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (line.find(library) != std::string::npos) return true;
  return false;
}

/// Whether LibTorch finds its operations for GPUs when they come after the start; first, for it is asked once in a process.
TEST(GpuOperations, AreLoadedOnDemand) {
  EXPECT_EQ(loaded("libtorch_cuda"), !visible_gpus().empty());
  if (!load_gpu_operations()) GTEST_SKIP() << "a build without CUDA";
  EXPECT_TRUE(loaded("libtorch_cuda"));
  EXPECT_TRUE(at::Context::hasCUDART());
}

TEST(TreeFold, HasTheBitsOfTreeReduce) {
  constexpr int64_t kNumel = 257;
  for (const auto op : {ReduceOp::kTreeSum, ReduceOp::kMax})
    for (int ranks = 1; ranks <= 40; ++ranks) {
      auto rows = at::empty({ranks, kNumel}, at::kFloat);
      for (int r = 0; r < ranks; ++r)
        rows[r].copy_(at::sin(at::arange(kNumel, at::kDouble) * 12.9898 + r * 78.233) * (1 << (r % 20)));
      std::vector<Term> terms;
      for (int r = 0; r < ranks; ++r) terms.push_back({rows[r].data_ptr(), 1});
      auto expected = at::empty({kNumel});
      void* out = expected.data_ptr();
      tree_reduce(terms, {&out, 1}, kNumel, at::kFloat, op);
      const int own = ranks / 2;
      const auto mine = rows[own].clone();
      rows[own].fill_(-1);
      const RankValues<float> values{mine.data_ptr<float>(), rows.data_ptr<float>(), kNumel, own, ranks};
      for (int64_t i = 0; i < kNumel; ++i)
        ASSERT_EQ(tree_fold(values, i, op == ReduceOp::kMax), expected[i].item<float>()) << ranks << " " << i;
    }
}

TEST(TreeFold, MaximumKeepsNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (int where = 0; where < 5; ++where) {
    float x[5] = {1, 2, 3, 2, 1};
    x[where] = nan;
    EXPECT_TRUE(std::isnan(tree_fold(RankValues<float>{x, x, 1, 0, 5}, 0, true))) << where;
  }
}

gpu::Mask mask_of(const DropoutKey& key) {
  return {static_cast<uint32_t>(key.seed),
          static_cast<uint32_t>(key.seed >> 32),
          key.step,
          key.layer << 24 | static_cast<uint32_t>(key.site) << 20,
          key.threshold(),
          key.scale()};
}

TEST(MaskKernel, HasTheBitsOfDropout) {
  const DropoutKey key{0.1, 0x987654321ull, 7, 3, DropoutSite::kOutput};
  for (const int64_t features : {1, 8, 13, 48}) {
    const auto positions = at::arange(20).remainder(7), samples = at::arange(20).floor_divide(7) * 1001;
    const auto x = at::randn({20, features});
    auto y = at::full({20, features}, -1.0);
    const gpu::TableRows rows{positions.data_ptr<int64_t>(), samples.data_ptr<int64_t>()};
    for (int64_t i = 0; i < 20 * ((features + 7) / 8); ++i)
      gpu::multiply_block(mask_of(key), rows, x.data_ptr<float>(), y.data_ptr<float>(), features, i);
    EXPECT_TRUE(at::equal(y, dropout(x, positions, samples, key))) << features;
  }
}

TEST(MaskKernel, HasTheBitsOfTheAttentionMask) {
  const DropoutKey key{0.25, 5, 9, 11, DropoutSite::kAttention};
  const int64_t heads = 3, s = 21;
  const auto x = at::ones({heads, s, s});
  auto y = at::full({heads, s, s}, -1.0);
  for (int64_t i = 0; i < heads * s * 3; ++i)
    gpu::multiply_block(mask_of(key), gpu::SquareRows{123, s}, x.data_ptr<float>(), y.data_ptr<float>(), s, i);
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t q = 0; q < s; ++q) {
      auto row = at::empty({s});
      dropout_mask(key, {static_cast<uint32_t>(q), 123}, static_cast<uint32_t>(h << 12),
                   {row.data_ptr<float>(), static_cast<size_t>(s)});
      ASSERT_TRUE(at::equal(y[h][q], row)) << h << " " << q;
    }
}

TEST(DeviceChoice, GpusGoRoundByLocalRank) {
  struct Case {
    Device wanted;
    int local_rank, visible, gpu;
  };
  for (const auto& c : {Case{Device::kAuto, 0, 0, -1},
                        {Device::kAuto, 0, 1, 0},
                        {Device::kAuto, 3, 4, 3},
                        {Device::kCuda, 1, 2, 1},
                        {Device::kCuda, 5, 1, 0},
                        {Device::kCuda, 5, 4, 1},
                        {Device::kCpu, 0, 8, -1}})
    EXPECT_EQ(gpu_of(c.wanted, c.local_rank, c.visible), c.gpu) << c.local_rank << " of " << c.visible;
  EXPECT_THROW(gpu_of(Device::kCuda, 0, 0), ConfigError);
}

/// Of rank, host, GPU and its name.
RankPlace at(int rank, const char* host, int gpu, const char* uuid) { return {rank, 0, host, gpu, uuid}; }

std::string refusal(const std::vector<RankPlace>& places, bool shared = false) {
  try {
    check_placements(places, shared);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(DeviceChoice, RanksOnGpusOfTheirOwnOrAllOnTheCpu) {
  EXPECT_EQ(refusal({at(0, "a", 0, "GPU-1"), at(1, "a", 1, "GPU-2"), at(2, "b", 0, "GPU-3")}), "");
  EXPECT_EQ(refusal({at(0, "a", 0, "GPU-1"), at(1, "a", 0, "GPU-2")}), "");  // each sees its own as number 0
  EXPECT_EQ(refusal({at(0, "a", -1, ""), at(1, "a", -1, "")}), "");
}

TEST(DeviceChoice, TwoRanksOnOneGpuAreNamed) {
  const std::vector<RankPlace> places{at(0, "a", 0, "GPU-1"), at(1, "a", 1, "GPU-2"), at(2, "a", 0, "GPU-1")};
  EXPECT_EQ(refusal(places),
            "these ranks share a GPU, and each needs one of its own:\n  rank 0  a  cuda:0  GPU-1\n  rank 2  a  cuda:0  GPU-1\n"
            "start as many ranks a host as it has GPUs, or set engine.device: cpu");
  EXPECT_EQ(refusal(places, true), "");
}

TEST(DeviceChoice, RanksWithoutAGpuAmongOthersAreNamed) {
  EXPECT_THAT(refusal({at(0, "a", 0, "GPU-1"), at(1, "b", -1, "")}, true),
              testing::HasSubstr("these do not:\n  rank 1  b  no GPU\n"));
  std::vector<RankPlace> many{at(0, "a", 0, "GPU-1")};
  for (int r = 1; r <= 40; ++r) many.push_back(at(r, "b", -1, ""));
  EXPECT_THAT(refusal(many), testing::AllOf(testing::HasSubstr("rank 32  b"), testing::HasSubstr("and 8 more"),
                                            testing::Not(testing::HasSubstr("rank 33"))));
}

}  // namespace
}  // namespace fmtrain
