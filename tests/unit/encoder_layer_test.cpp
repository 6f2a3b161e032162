// The fused layer beside the same layer from LibTorch's operations.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "models/ops/encoder_layer.h"
#include "models/ops/product.h"
#include "models/ops/row_passes.h"

namespace fmtrain {
namespace {

constexpr int64_t kWidth = 48, kWide = 192, kHeads = 3;

struct Case {
  at::ScalarType type;
  double p;
  double forward, backward;  ///< relative errors that rounding explains
};

LayerPass pass_of(const std::vector<int64_t>& offsets, double p) {
  std::vector<int64_t> positions, samples, ids;
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    ids.push_back(static_cast<int64_t>(s) * 13 + 2);
    for (int64_t i = offsets[s]; i < offsets[s + 1]; ++i) {
      positions.push_back(i - offsets[s]);
      samples.push_back(ids.back());
    }
  }
  const auto key = [&](DropoutSite site) { return DropoutKey{p, 77, 5, 1, site}; };
  return {{at::tensor(offsets), at::tensor(ids)}, at::tensor(positions), at::tensor(samples), key(DropoutSite::kAttention), key(DropoutSite::kAttentionOutput),
          key(DropoutSite::kOutput)};
}

EncoderLayer layer_of(at::ScalarType type) {
  at::manual_seed(4);
  EncoderLayer layer;
  layer.heads = kHeads;
  layer.norm_eps = 1e-12;
  const auto add = [&](at::IntArrayRef shape, double scale, double mean) { layer.parameters.push_back((at::randn(shape) * scale + mean).requires_grad_(true)); };
  for (int i = 0; i < 3; ++i) add({kWidth, kWidth}, 0.2, 0);
  for (int i = 0; i < 3; ++i) add({kWidth}, 0.1, 0);
  add({kWidth, kWidth}, 0.2, 0), add({kWidth}, 0.1, 0), add({kWidth}, 0.3, 1), add({kWidth}, 0.1, 0);
  add({kWide, kWidth}, 0.2, 0), add({kWide}, 0.1, 0), add({kWidth, kWide}, 0.1, 0), add({kWidth}, 0.1, 0), add({kWidth}, 0.3, 1), add({kWidth}, 0.1, 0);
  const auto value = [&](size_t i) { return layer.parameters[i].detach().to(type); };
  layer.qkv = {at::cat({value(0), value(1), value(2)}), at::cat({value(3), value(4), value(5)})};
  layer.context = {value(kContextWeight), value(kContextBias)};
  layer.wide = {value(kWideWeight), value(kWideBias)};
  layer.output = {value(kOutputWeight), value(kOutputBias)};
  return layer;
}

struct Outcome {
  at::Tensor y, dx;
  std::vector<at::Tensor> of_parameters;
};

Outcome outcome(at::Tensor y, const at::Tensor& x, const EncoderLayer& layer, const at::Tensor& seed) {
  y.backward(seed.to(y.scalar_type()));
  Outcome o{y.detach().to(at::kFloat), x.grad().to(at::kFloat), {}};
  for (const auto& p : layer.parameters) {
    o.of_parameters.push_back(p.grad().defined() ? p.grad().clone() : at::Tensor());
    p.mutable_grad().reset();
  }
  return o;
}

const std::vector<int64_t> kOffsets{0, 9, 10, 43, 90};

/// With rows padded as products want them; results without the padding.
Outcome fused(const EncoderLayer& layer, const at::Tensor& values, const at::Tensor& seed, double p, at::ScalarType type, const at::Tensor& outputs = {}) {
  const int64_t rows = values.size(0), all = padded_rows(rows), wanted = seed.size(0);
  const auto whole = [&](const at::Tensor& t) { return at::constant_pad_nd(t.to(type), {0, 0, 0, padded_rows(t.size(0)) - t.size(0)}); };
  auto pass = pass_of(kOffsets, p);
  pass.outputs = outputs;
  const auto x = whole(values).requires_grad_(true);
  auto o = outcome(encoder_layer(x, layer, pass), x, layer, whole(seed));
  EXPECT_EQ(o.dx.narrow(0, rows, all - rows).abs().sum().item<double>(), 0);
  EXPECT_EQ(o.y.narrow(0, wanted, o.y.size(0) - wanted).abs().sum().item<double>(), 0);
  o.y = o.y.narrow(0, 0, wanted), o.dx = o.dx.narrow(0, 0, rows);
  return o;
}

double relative(const at::Tensor& a, const at::Tensor& b) { return (a - b).norm().item<double>() / b.norm().item<double>(); }

class FusedLayer : public testing::TestWithParam<Case> {};

TEST_P(FusedLayer, EqualsThePlainComposition) {
  const auto& c = GetParam();
  const auto layer = layer_of(c.type);
  const auto values = at::randn({kOffsets.back(), kWidth}).to(c.type).to(at::kFloat), seed = at::randn_like(values);
  const auto x = values.clone().requires_grad_(true);
  const auto plain = outcome(encoder_layer_reference(x, layer, pass_of(kOffsets, c.p), c.type), x, layer, seed);
  const auto y = fused(layer, values, seed, c.p, c.type);
  EXPECT_LE(relative(y.y, plain.y), c.forward);
  EXPECT_LE(relative(y.dx, plain.dx), c.backward);
  for (size_t i = 0; i < kLayerParameters; ++i) {
    if (i == kKeyBias) continue;  // zero but for rounding: a constant in all scores of a row changes no probability
    EXPECT_LE(relative(y.of_parameters[i], plain.of_parameters[i]), c.backward) << i;
  }
}

TEST_P(FusedLayer, ComputesTheWantedRowsAsIfAllWere) {
  const auto& c = GetParam();
  const auto layer = layer_of(c.type);
  const auto outputs = at::tensor({0, 3, 9, 10, 12, 42, 89}, at::kLong);
  const auto values = at::randn({kOffsets.back(), kWidth}).to(c.type).to(at::kFloat), seed = at::randn({outputs.numel(), kWidth}).to(c.type).to(at::kFloat);
  const auto all = fused(layer, values, at::zeros_like(values).index_copy_(0, outputs, seed), c.p, c.type);
  const auto some = fused(layer, values, seed, c.p, c.type, outputs);
  EXPECT_LE(relative(some.y, all.y.index_select(0, outputs)), c.type == at::kFloat ? 1e-6 : 0);
  EXPECT_LE(relative(some.dx, all.dx), c.backward);
  const auto x = values.clone().requires_grad_(true);
  auto pass = pass_of(kOffsets, c.p);
  pass.outputs = outputs;
  const auto plain = outcome(encoder_layer_reference(x, layer, pass, c.type), x, layer, seed);
  EXPECT_LE(relative(some.y, plain.y), c.forward);
  for (size_t i = 0; i < kLayerParameters; ++i) {
    if (i == kKeyBias) continue;
    EXPECT_LE(relative(some.of_parameters[i], all.of_parameters[i]), c.backward) << i;
    EXPECT_LE(relative(plain.of_parameters[i], all.of_parameters[i]), c.backward) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, FusedLayer, testing::Values(Case{at::kFloat, 0.0, 1e-6, 3e-6}, Case{at::kFloat, 0.1, 1e-6, 3e-6},
                                                            Case{at::kBFloat16, 0.0, 8e-3, 2e-2}, Case{at::kBFloat16, 0.1, 8e-3, 2e-2}));

TEST(FusedLayer, GivesTheSameWithoutAGraph) {
  const auto layer = layer_of(at::kFloat);
  const auto x = at::randn({96, kWidth});
  const auto with = encoder_layer(x, layer, pass_of(kOffsets, 0.1)).detach();
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(with.narrow(0, 0, 90), encoder_layer(x, layer, pass_of(kOffsets, 0.1)).narrow(0, 0, 90)));
}

/// Some of the weights packed, or all, and found again, also when one is made anew for every pass.
TEST(FusedLayer, PackedWeightsGiveTheSame) {
  for (const auto type : {at::kFloat, at::kBFloat16})
    for (const int64_t bytes : {int64_t{0}, int64_t{kWidth * kWidth * 8}, int64_t{1} << 20}) {
      const at::NoGradGuard no_grad;
      auto layer = layer_of(type);
      auto pass = pass_of(kOffsets, 0);
      const auto x = at::randn({96, kWidth}).to(type), expected = encoder_layer(x, layer, pass).narrow(0, 0, 90);
      PackedWeights packed(bytes, 1024);
      pass.packed = &packed;
      for (int again = 0; again < 3; ++again) {
        const auto found = encoder_layer(x, layer, pass).narrow(0, 0, 90);
        EXPECT_LE(relative(found.to(at::kFloat), expected.to(at::kFloat)), type == at::kFloat ? 1e-6 : 8e-3) << type << bytes;
        layer.qkv.weight = layer.qkv.weight.clone();
      }
    }
}

TEST(FusedLayer, PackedWeightsTakeNoMoreThanTheyMay) {
  constexpr int64_t kBytes = 64 * 32 * 4;
  const auto a = at::randn({64, 32}), b = at::randn({64, 32}), c = at::randn({64, 32});
  PackedWeights packed(2 * kBytes, 1024);
  const auto first = packed.of(a, a.clone());
  if (!first.is_mkldnn()) GTEST_SKIP() << "LibTorch was built without oneDNN";
  EXPECT_TRUE(packed.of(a, a.clone()).is_same(first));
  const auto second = packed.of(b, b);
  EXPECT_TRUE(second.is_mkldnn());
  EXPECT_FALSE(second.is_same(first));
  EXPECT_TRUE(packed.of(c, c).is_same(c));
  EXPECT_LE(relative(product(at::eye(32), second), b.t()), 1e-6);
}

TEST(FusedLayer, TheBitsDoNotDependOnTheNumberOfThreads) {
  const auto layer = layer_of(at::kFloat);
  std::vector<int64_t> offsets{0};
  for (int64_t i = 0; i < 40; ++i) offsets.push_back(offsets.back() + 5 + i);
  const int64_t rows = offsets.back();
  std::vector<float> sums[2];
  at::Tensor outs[2];
  const auto x = at::randn({rows, kWide}), grads = at::randn({rows, kWide});
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    const auto a = x.clone(), g = grads.clone();
    auto& s = sums[threads - 1];
    s.resize(kWide);
    gelu_backward(a.data_ptr<float>(), g.data_ptr<float>(), rows, kWide, s.data());
    outs[threads - 1] = at::cat({a, g});
  }
  at::set_num_threads(1);
  EXPECT_EQ(sums[0], sums[1]);
  EXPECT_TRUE(at::equal(outs[0], outs[1]));
}

TEST(FusedLayer, FrozenParametersReceiveNothing) {
  const auto layer = layer_of(at::kFloat);
  for (const size_t i : {kQueryWeight, kKeyWeight, kValueWeight, kWideWeight, kOutputNormBias}) layer.parameters[i].requires_grad_(false);
  const auto values = at::randn({kOffsets.back(), kWidth});
  const auto all = fused(layer_of(at::kFloat), values, values, 0.1, at::kFloat), some = fused(layer, values, values, 0.1, at::kFloat);
  for (size_t i = 0; i < kLayerParameters; ++i) {
    EXPECT_EQ(some.of_parameters[i].defined(), layer.parameters[i].requires_grad()) << i;
    EXPECT_TRUE(!some.of_parameters[i].defined() || at::equal(all.of_parameters[i], some.of_parameters[i])) << i;
  }
}

TEST(FusedLayer, ASinkReceivesWhatTheGraphWould) {
  auto layer = layer_of(at::kBFloat16);
  const auto values = at::randn({kOffsets.back(), kWidth});
  const auto plain = fused(layer, values, values, 0.1, at::kBFloat16);
  std::vector<at::Tensor> received(kLayerParameters);
  layer.sink = [&](size_t i, const at::Tensor& gradient) {
    EXPECT_FALSE(received[i].defined()) << i;
    EXPECT_EQ(gradient.scalar_type(), layer.parameters[i].dim() == 2 ? at::kBFloat16 : at::kFloat) << i;
    received[i] = gradient.to(at::kFloat);
  };
  layer.parameters[kContextWeight].requires_grad_(false);
  const auto none = fused(layer, values, values, 0.1, at::kBFloat16);
  for (size_t i = 0; i < kLayerParameters; ++i) {
    EXPECT_FALSE(none.of_parameters[i].defined()) << i;
    EXPECT_EQ(received[i].defined(), i != kContextWeight) << i;
    EXPECT_TRUE(!received[i].defined() || at::equal(received[i], plain.of_parameters[i])) << i;
  }
}

TEST(FusedLayer, BackwardRunsOnce) {
  const auto layer = layer_of(at::kFloat);
  const auto x = at::randn({96, kWidth});
  const auto y = encoder_layer(x, layer, pass_of(kOffsets, 0.0)).sum();
  y.backward({}, /*retain_graph=*/true);
  EXPECT_THROW(y.backward(), c10::Error);
}

TEST(Gelu, FollowsTheErrorFunction) {
  const auto x = at::linspace(-12, 12, 4801).view({1, -1}), y = at::empty_like(x), g = at::ones_like(x), in_place = x.clone();
  std::vector<float> sums(4801);
  gelu_forward(x.data_ptr<float>(), y.data_ptr<float>(), 1, x.size(1));
  gelu_backward(in_place.data_ptr<float>(), g.data_ptr<float>(), 1, x.size(1), sums.data());
  EXPECT_TRUE(at::equal(y, in_place));
  const auto exact = x.to(at::kDouble), phi = 0.5 * (1 + at::erf(exact / std::sqrt(2.0)));
  EXPECT_LE((y - exact * phi).abs().max().item<double>(), 1e-6);
  EXPECT_LE((g - (phi + exact * at::exp(-exact * exact / 2) / std::sqrt(2 * M_PI))).abs().max().item<double>(), 1e-6);
}

TEST(Bf16, RoundsAsATen) {
  const auto x = at::cat({at::randn({4096}), at::tensor({0.0, -0.0, 1.00390625, 1.01171875, 3.3961e38, 1e-40, INFINITY, -INFINITY, NAN}).to(at::kFloat)});
  const auto rounded = x.to(at::kBFloat16);
  for (int64_t i = 0; i < x.numel(); ++i) {
    Bf16 mine;
    store(mine, x.data_ptr<float>()[i]);
    const float theirs = rounded[i].item<float>();
    EXPECT_TRUE(load(mine) == theirs || (std::isnan(load(mine)) && std::isnan(theirs))) << x[i].item<float>();
  }
}

class Products : public testing::TestWithParam<at::ScalarType> {};

TEST_P(Products, FollowATen) {
  at::manual_seed(5);
  const double tolerance = GetParam() == at::kFloat ? 1e-6 : 6e-3;
  const auto x = at::randn({37, 48}).to(GetParam()), w = at::randn({96, 48}).to(GetParam()), b = at::randn({96}).to(GetParam()), dy = at::randn({37, 96}).to(GetParam());
  const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
  EXPECT_LE(relative(wide(product(x, w, b)), at::linear(wide(x), wide(w), wide(b))), tolerance);
  EXPECT_LE(relative(wide(product(x, w)), at::linear(wide(x), wide(w))), tolerance);
  EXPECT_LE(relative(wide(product_grad_input(dy, w)), at::mm(wide(dy), wide(w))), tolerance);
  EXPECT_LE(relative(wide(product_grad_weight(dy, x)), at::mm(wide(dy).t(), wide(x))), tolerance);
  for (const auto& y : {product(x, w, b), product_grad_input(dy, w), product_grad_weight(dy, x)}) EXPECT_TRUE(y.scalar_type() == GetParam() && y.is_contiguous());
  const auto memory = at::zeros({16 + 96 * 48 + 1}, x.options()), place = memory.narrow(0, 16, 96 * 48).view({96, 48});  // as in a window: 32 bytes
  const auto placed = product_grad_weight(dy, x, place);
  EXPECT_TRUE(at::equal(placed, product_grad_weight(dy, x)));
  EXPECT_EQ(placed.data_ptr() == place.data_ptr(), GetParam() != at::kFloat);
  EXPECT_EQ(memory[15].item<float>(), 0);
  EXPECT_EQ(memory[16 + 96 * 48].item<float>(), 0);
}

#if defined(__x86_64__)
/// On processors without instructions for it ATen's products in bf16 once took 17 times as long.
TEST(ProductsInBf16, TakeNotMuchLongerThanInFp32) {
  if (!at::hasMKLDNN()) GTEST_SKIP() << "LibTorch was built without oneDNN";
  const auto seconds = [](at::ScalarType type) {
    const auto x = at::randn({256, 384}).to(type), w = at::randn({512, 384}).to(type), dy = at::randn({256, 512}).to(type);
    const auto start = std::chrono::steady_clock::now();
    product(x, w);
    product_grad_input(dy, w);
    product_grad_weight(dy, x);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  double bf16 = 1e9, fp32 = 1e9;
  for (int round = 0; round < 10; ++round) bf16 = std::min(bf16, seconds(at::kBFloat16)), fp32 = std::min(fp32, seconds(at::kFloat));
  EXPECT_LT(bf16, 4 * fp32) << fp32 * 1e3 << " ms in fp32";
}
#endif

TEST(AsOne, IsAViewOfNeighboursOnly) {
  const auto all = at::arange(24).view({6, 4});
  const auto part = [&](int64_t i) { return all.narrow(0, 2 * i, 2); };
  const auto one = as_one(part(0), part(1), part(2));
  EXPECT_TRUE(at::equal(one, all));
  EXPECT_EQ(one.data_ptr(), all.data_ptr());
  EXPECT_FALSE(as_one(part(0), part(2), part(1)).defined());
  EXPECT_FALSE(as_one(part(0), part(1), part(2).clone()).defined());
  EXPECT_FALSE(as_one({}, {}, {}).defined());
}

INSTANTIATE_TEST_SUITE_P(Types, Products, testing::Values(at::kFloat, at::kBFloat16, at::kHalf));

}  // namespace
}  // namespace fmtrain
