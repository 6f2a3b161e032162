// The kernels on a GPU against the CPU's functions: equal bits where the mathematics allows.
#include <torch/autograd.h>

#include <cmath>

#include "comm/tree_reduce.h"
#include "comm/tree_reduce_cuda.h"
#include "models/ops/attention.h"
#include "models/ops/dropout.h"
#include "models/ops/on_gpu.h"
#include "models/ops/optimizer_update.h"
#include "tests/gpu/needs_gpu.h"

namespace fmtrain {
namespace {

const at::Device kGpu(at::kCUDA, 0);
const DropoutKey kKey{0.1, 0x987654321ull, 7, 3, DropoutSite::kOutput};

template <class T>
void expect_the_tree_of_the_cpu(at::ScalarType dtype, int ranks, int64_t numel, ReduceOp op) {
  auto rows = at::empty({ranks, numel}, dtype);
  for (int r = 0; r < ranks; ++r)
    rows[r].copy_(at::sin(at::arange(numel, at::kDouble) * 12.9898 + r * 78.233) * (1 << (r % 20)));
  std::vector<Term> terms;
  for (int r = 0; r < ranks; ++r) terms.push_back({rows[r].data_ptr(), 1});
  auto expected = at::empty({numel}, dtype);
  void* out = expected.data_ptr();
  tree_reduce(terms, {&out, 1}, numel, dtype, op);
  const auto there = rows.to(kGpu);
  const int own = ranks / 2;
  auto mine = there[own].clone();
  there[own].fill_(-1);  // a rank's own values do not come from the scratch rows
  tree_reduce_cuda<T>({mine.data_ptr<T>(), there.data_ptr<T>(), numel, own, ranks}, mine.data_ptr<T>(), numel,
                      op == ReduceOp::kMax, nullptr);
  EXPECT_TRUE(at::equal(mine.cpu(), expected)) << ranks << " ranks, " << numel << " of " << dtype;
}

TEST(TreeOnGpu, HasTheBitsOfTheCpu) {
  for (const auto op : {ReduceOp::kTreeSum, ReduceOp::kMax})
    for (const int ranks : {1, 2, 3, 4, 5, 6, 7, 8, 13, 16, 48})
      for (const int64_t numel : {1, 1023, 65'537}) {
        expect_the_tree_of_the_cpu<float>(at::kFloat, ranks, numel, op);
        expect_the_tree_of_the_cpu<double>(at::kDouble, ranks, numel, op);
        expect_the_tree_of_the_cpu<int64_t>(at::kLong, ranks, numel, op);
        expect_the_tree_of_the_cpu<int32_t>(at::kInt, ranks, numel, op);
      }
}

TEST(DropoutOnGpu, HasTheBitsOfTheCpuForwardAndBackward) {
  at::manual_seed(1);
  for (const int64_t features : {8, 48, 384, 389}) {
    const auto positions = at::arange(100).remainder(37), samples = at::arange(100).floor_divide(37) * 1001;
    const auto x = at::randn({100, features}).requires_grad_(true), seed = at::randn({100, features});
    const auto there = x.detach().to(kGpu).requires_grad_(true);
    const auto y = dropout(x, positions, samples, kKey), z = dropout(there, positions.to(kGpu), samples.to(kGpu), kKey);
    y.backward(seed);
    z.backward(seed.to(kGpu));
    EXPECT_TRUE(at::equal(y, z.cpu())) << features;
    EXPECT_TRUE(at::equal(x.grad(), there.grad().cpu())) << features;
  }
}

TEST(AttentionOnGpu, MasksHaveTheBitsOfTheCpu) {
  const int64_t heads = 12, s = 83;
  const DropoutKey key{0.1, 99, 4, 2, DropoutSite::kAttention};
  const auto mask = attention_dropout_on_gpu(at::ones({heads, s, s}, kGpu), 17, key).cpu();
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < s; ++i) {
      auto row = at::empty({s});
      dropout_mask(key, {static_cast<uint32_t>(i), 17}, static_cast<uint32_t>(h << 12),
                   {row.data_ptr<float>(), static_cast<size_t>(s)});
      ASSERT_TRUE(at::equal(mask[h][i], row)) << h << " " << i;
    }
}

TEST(AttentionOnGpu, FollowsTheCpu) {
  for (const double p : {0.0, 0.1}) {
    at::manual_seed(2);
    const PackedRows rows{at::tensor({0, 5, 6, 40, 168}, at::kLong), at::arange(4) * 17 + 3};
    const DropoutKey key{p, 99, 4, 2, DropoutSite::kAttention};
    const auto qkv = at::randn({168, 3 * 384}).requires_grad_(true), seed = at::randn({168, 384});
    const auto there = qkv.detach().to(kGpu).requires_grad_(true);
    const auto y = packed_attention_reference(qkv, rows, 12, key), z = packed_attention_reference(there, rows, 12, key);
    y.backward(seed);
    z.backward(seed.to(kGpu));
    EXPECT_LE((y - z.cpu()).abs().max().item<double>(), 5e-6) << p;
    EXPECT_LE((qkv.grad() - there.grad().cpu()).norm().item<double>(), 3e-6 * qkv.grad().norm().item<double>()) << p;
  }
}

/// Parameter, gradient and two moments after some steps.
std::vector<at::Tensor> state_of(int64_t numel) {
  at::manual_seed(3);
  return {at::randn({numel}), at::randn({numel}) / 100, at::randn({numel}) / 100, at::rand({numel}) / 1000};
}

TEST(AdamWOnGpu, FollowsTheCpuAndATen) {
  const int64_t numel = 10'007;
  auto cpu = state_of(numel), gpu = state_of(numel), aten = state_of(numel);
  const auto update = adamw_update(1e-3, 0.01, 0.9, 0.999, 1e-8, 0.5, 3);
  apply_adamw(update, cpu[0].data_ptr<float>(), cpu[1].data_ptr<float>(), cpu[2].data_ptr<float>(), cpu[3].data_ptr<float>(),
              numel);
  for (auto& t : gpu) t = t.to(kGpu);
  adamw_on_gpu(update, gpu[0], gpu[1], gpu[2], gpu[3]);
  for (auto& t : aten) t = t.to(kGpu);
  aten[1].mul_(0.5);
  at::_fused_adamw_({aten[0]}, {aten[1]}, {aten[2]}, {aten[3]}, {}, {at::full({}, 3.0, aten[0].options())}, 1e-3, 0.9, 0.999,
                    0.01, 1e-8, false, false, {}, {});
  for (const size_t k : {0u, 2u, 3u}) {
    EXPECT_TRUE(at::allclose(gpu[k].cpu(), cpu[k], 1e-6, 1e-9)) << k;
    EXPECT_TRUE(at::allclose(gpu[k], aten[k], 1e-6, 1e-9)) << k;
  }
}

TEST(AdamWOnGpu, AnyCutOfTheMemoryGivesTheSameBits) {
  const int64_t numel = 10'007;
  const auto update = adamw_update(1e-3, 0.01, 0.9, 0.999, 1e-8, 0.5, 3);
  auto whole = state_of(numel), cut = state_of(numel);
  for (auto* state : {&whole, &cut})
    for (auto& t : *state) t = t.to(kGpu);
  adamw_on_gpu(update, whole[0], whole[1], whole[2], whole[3]);
  for (const auto& [first, last] : {std::pair<int64_t, int64_t>{0, 16}, {16, 4977}, {4977, 4978}, {4978, numel}}) {
    const auto part = [&, from = first, to = last](size_t k) { return cut[k].narrow(0, from, to - from); };
    adamw_on_gpu(update, part(0), part(1), part(2), part(3));
  }
  for (const size_t k : {0u, 2u, 3u}) EXPECT_TRUE(at::equal(whole[k], cut[k])) << k;
}

TEST(SgdOnGpu, FollowsTheCpu) {
  auto cpu = state_of(1000), gpu = state_of(1000);
  const SgdUpdate update{0.5f, 0.01f, 0.9f, 0.1f};
  apply_sgd(update, cpu[0].data_ptr<float>(), cpu[1].data_ptr<float>(), cpu[2].data_ptr<float>(), 1000);
  for (auto& t : gpu) t = t.to(kGpu);
  sgd_on_gpu(update, gpu[0], gpu[1], gpu[2]);
  for (const size_t k : {0u, 2u}) EXPECT_TRUE(at::allclose(gpu[k].cpu(), cpu[k], 1e-6, 1e-7)) << k;
}

TEST(SumsOfSquaresOnGpu, AreThoseOfEachBlockAlone) {
  const auto x = state_of(200'000)[0].to(kGpu);
  constexpr int64_t kBlock = 65'536;
  const auto sums_of = [](const at::Tensor& data) {
    const auto sums = at::full({(data.numel() + kBlock - 1) / kBlock}, -1.0, data.options().dtype(at::kDouble));
    sums_of_squares_on_gpu(data, kBlock, sums);
    return sums;
  };
  const auto sums = sums_of(x);
  ASSERT_EQ(sums.numel(), 4);
  for (int64_t b = 0; b < 4; ++b) {
    const auto block = x.narrow(0, b * kBlock, std::min(kBlock, x.numel() - b * kBlock));
    EXPECT_EQ(sums[b].item<double>(), sums_of(block.clone())[0].item<double>()) << b;
    EXPECT_NEAR(sums[b].item<double>(), block.to(at::kDouble).square().sum().item<double>(),
                1e-8 * static_cast<double>(kBlock));
  }
}

}  // namespace
}  // namespace fmtrain

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return fmtrain::run_tests_with_gpus(1);
}
