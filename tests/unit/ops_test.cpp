#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "models/ops/attention.h"
#include "models/ops/dropout.h"
#include "models/ops/kernels.h"
#include "models/ops/linear.h"
#include "models/ops/philox.h"

namespace fmtrain {
namespace {

const DropoutKey kKey{0.1, 0x123456789ull, 7, 3, DropoutSite::kOutput};

TEST(Philox, KnownAnswers) {  // Random123's kat_vectors
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}), (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Dropout, MaskIsTheWrittenFunctionOfItsCounter) {
  std::vector<float> mask(389);
  dropout_mask(kKey, {11, 1234}, 0, mask);
  for (size_t f = 0; f < mask.size(); ++f) {
    const auto words = philox4x32({3u << 24 | 3u << 20 | static_cast<uint32_t>(f / 8), 11, 1234, 7}, {0x23456789, 0x1});
    const uint32_t bits = words[f % 8 / 2] >> (f % 2 * 16) & 0xFFFF;
    EXPECT_EQ(mask[f], bits >= 6554 ? static_cast<float>(1 / 0.9) : 0.0f) << f;
  }
}

TEST(Dropout, KeepsTheStatedShareAndTheMean) {
  const auto rows = at::arange(2000), x = at::ones({2000, 384});
  const auto y = dropout(x, rows, at::zeros_like(rows), kKey);
  EXPECT_NEAR(y.mean().item<double>(), 1.0, 0.002);
  EXPECT_NEAR((y == 0).to(at::kDouble).mean().item<double>(), 0.1, 0.002);
}

TEST(Dropout, RowsKeepTheirMaskWhereverTheyLie) {
  const auto x = at::ones({6, 64});
  const auto positions = at::tensor({0, 1, 2, 0, 1, 2}, at::kLong), samples = at::tensor({5, 5, 5, 9, 9, 9}, at::kLong);
  const auto y = dropout(x, positions, samples, kKey);
  const auto z = dropout(x.flip(0), positions.flip(0), samples.flip(0), kKey);
  EXPECT_TRUE(at::equal(y, z.flip(0)));
  EXPECT_FALSE(at::equal(y[0], y[3]));
  EXPECT_FALSE(at::equal(y[0], y[1]));
}

TEST(Dropout, BackwardUsesTheMaskOfForward) {
  const auto rows = at::arange(10);
  const auto x = at::randn({10, 48}).requires_grad_(true);
  const auto y = dropout(x, rows, rows, kKey);
  y.sum().backward();
  EXPECT_TRUE(at::equal(x.grad() * x.detach(), y.detach()));
}

TEST(Dropout, ZeroIsTheIdentity) {
  const auto rows = at::arange(10);
  const auto x = at::randn({10, 48});
  auto key = kKey;
  key.p = 0;
  EXPECT_TRUE(dropout(x, rows, rows, key).is_same(x));
}

TEST(Dropout, ASquareIsTheMasksOfItsRows) {
  for (const int64_t size : {1, 7, 16, 31, 130}) {
    const int64_t width = padded(size);
    std::vector<float> square(static_cast<size_t>(size * width)), row(static_cast<size_t>(size));
    kernels().mask_square(mask_counter(kKey, {0, 21}, 2 << 12), size, width, square.data());
    for (int64_t i = 0; i < size; ++i) {
      dropout_mask(kKey, {static_cast<uint32_t>(i), 21}, 2 << 12, row);
      EXPECT_TRUE(std::equal(row.begin(), row.end(), square.begin() + i * width)) << size << " row " << i;
    }
  }
}

struct Shape {
  std::vector<int64_t> offsets;
  int64_t heads, dh;
  double p;
};

float* floats(const at::Tensor& t) { return t.data_ptr<float>(); }

class AttentionKernels : public testing::TestWithParam<Shape> {};

TEST_P(AttentionKernels, EqualThePlainComposition) {
  const auto& shape = GetParam();
  at::manual_seed(1);
  const PackedRows rows{at::tensor(shape.offsets), at::arange(static_cast<int64_t>(shape.offsets.size()) - 1) * 17 + 3};
  const DropoutKey key{shape.p, 99, 4, 2, DropoutSite::kAttention};
  const int64_t d = shape.heads * shape.dh;
  const auto qkv = at::randn({shape.offsets.back(), 3 * d}), seed = at::randn({qkv.size(0), d});
  const auto twin = qkv.clone().requires_grad_(true), z = packed_attention_reference(twin, rows, shape.heads, key);
  z.backward(seed);
  const auto y = at::empty_like(seed), softmax = at::empty({qkv.size(0), shape.heads, 2}), grad = at::empty_like(qkv);
  const Attention<float> attention{floats(qkv), d, shape.heads, rows, key};
  attention_forward(attention, floats(y), floats(softmax));
  attention_backward(attention, floats(softmax), floats(seed), floats(grad));
  EXPECT_LE((y - z).abs().max().item<double>(), 3e-6);
  EXPECT_LE((grad - twin.grad()).norm().item<double>(), 2e-6 * twin.grad().norm().item<double>());
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionKernels, testing::Values(Shape{{0, 5, 6, 40, 168}, 12, 32, 0.0}, Shape{{0, 5, 6, 40, 168}, 12, 32, 0.1},
    Shape{{0, 16, 33}, 2, 16, 0.1}, Shape{{0, 1}, 1, 64, 0.0}, Shape{{0, 7, 19}, 3, 20, 0.5}, Shape{{0, 300}, 2, 64, 0.1}));

TEST(AttentionKernels, TheBitsOfASampleDependOnNothingElse) {
  at::manual_seed(2);
  const auto qkv = at::randn({60, 96}), both = at::empty({60, 32}), second = at::empty({37, 32});
  const DropoutKey key{0.1, 99, 4, 2, DropoutSite::kAttention};
  attention_forward<float>({floats(qkv), 32, 2, {at::tensor({0, 23, 60}, at::kLong), at::tensor({5, 6}, at::kLong)}, key}, floats(both), nullptr);
  attention_forward<float>({floats(qkv) + 23 * 96, 32, 2, {at::tensor({0, 37}, at::kLong), at::tensor({6}, at::kLong)}, key}, floats(second), nullptr);
  EXPECT_TRUE(at::equal(both.narrow(0, 23, 37), second));
}

TEST(Linear, LowPrecisionFollowsFullPrecision) {
  at::manual_seed(3);
  const auto x = at::randn({40, 64}).requires_grad_(true), w = (at::randn({96, 64}) / 8).requires_grad_(true), b = at::randn({96}).requires_grad_(true);
  const auto y = linear(x, {w, b, {}});
  y.sum().backward();
  const auto dx = x.grad().clone(), dw = w.grad().clone(), db = b.grad().clone();
  for (const auto& [precision, tolerance] : {std::pair{Precision::kBf16, 6e-3}, {Precision::kFp16, 6e-3 / 8}}) {
    for (const auto& t : {x, w, b}) t.mutable_grad().reset();
    const auto type = product_type(precision);
    const auto z = linear(x, {w, b, w.detach().to(type)});
    EXPECT_EQ(z.scalar_type(), type);
    z.to(at::kFloat).sum().backward();
    EXPECT_LE((y - z).norm().item<double>(), tolerance * y.norm().item<double>());
    EXPECT_LE((dx - x.grad()).norm().item<double>(), tolerance * dx.norm().item<double>());
    EXPECT_LE((dw - w.grad()).norm().item<double>(), tolerance * dw.norm().item<double>());
    EXPECT_TRUE(at::equal(db, b.grad()));
  }
}

}  // namespace
}  // namespace fmtrain
