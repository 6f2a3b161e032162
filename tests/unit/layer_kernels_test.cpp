// The layers' kernels of every processor level that this machine has: what the lowest computes, to rounding, whatever lay in the
// scratch, and at a speed of the same order. ops_test.cpp compares the highest with LibTorch.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "models/ops/kernels.h"

namespace fmtrain {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> normal(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw;
  std::vector<float> values(n);
  for (auto& value : values) value = draw(random);
  return values;
}

struct alignas(64) Line { float floats[16]; };

template <class A>
const KernelsOf<A>& of(const Kernels& level) {
  if constexpr (std::is_same_v<A, float>) return level.fp32;
  else return level.bf16;
}

template <class A>
std::vector<A> as(const std::vector<float>& values) {
  std::vector<A> all(values.size());
  for (size_t i = 0; i < all.size(); ++i) store(all[i], values[i]);
  return all;
}

template <class A>
std::vector<float> widened(const std::vector<A>& values) {
  std::vector<float> all;
  for (const A value : values) all.push_back(load(value));
  return all;
}

/// One head of attention, forward and backward.
template <class A>
struct Head {
  Head(int64_t tokens, int64_t features, bool masked) : s(tokens), dh(features), dropped(masked), scratch(static_cast<size_t>(attention_scratch(s, dh) / 16 + 1)) {}

  void forward(const KernelsOf<A>& k) { k.attention(rows(), out.data(), dh); }
  void backward(const KernelsOf<A>& k) {
    A* q = grads.data();
    k.attention_backward(rows(), seed.data(), dh, q, q + dh, q + 2 * dh);
  }
  void poison() {
    for (auto& line : scratch)
      for (auto& value : line.floats) value = kNan;
  }
  HeadRows<A> rows() {
    const MaskCounter mask{3u << 12, 0, 7, 5, 1, 2, dropped ? 6554u : 0u, 1.0f / 0.9f};
    const A* q = qkv.data();
    return {s, dh, q, q + dh, q + 2 * dh, 3 * dh, 1 / std::sqrt(static_cast<float>(dh)), mask, kept.data(), 2, scratch[0].floats};
  }

  int64_t s, dh;
  bool dropped;
  size_t cells = static_cast<size_t>(s * dh);
  std::vector<A> qkv = as<A>(normal(3 * cells, 1)), seed = as<A>(normal(cells, 2)), out = std::vector<A>(cells), grads = std::vector<A>(3 * cells);
  std::vector<float> kept = std::vector<float>(static_cast<size_t>(2 * s), kNan);
  std::vector<Line> scratch;
};

void expect_near(const std::vector<float>& found, const std::vector<float>& expected, float part, const std::string& what) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], part * (1 + std::fabs(expected[i]))) << what << ", element " << i;
}

/// `part`: of a value, that rounding explains.
template <class A>
void expect_the_same_at_every_level(int64_t s, int64_t dh, bool masked, float part) {
  Head<A> expected(s, dh, masked);
  const auto run = [](Head<A>& head, const Kernels& level) {
    head.poison();
    head.forward(of<A>(level));
    head.poison();
    head.backward(of<A>(level));
  };
  run(expected, *kernel_levels().front());
  for (const Kernels* level : kernel_levels()) {
    const std::string what = std::string(level->level) + ", " + std::to_string(s) + " x " + std::to_string(dh) + (masked ? ", masked" : "");
    Head<A> found(s, dh, masked);
    run(found, *level);
    expect_near(widened(found.out), widened(expected.out), part, what + ": context");
    expect_near(found.kept, expected.kept, 2e-5f, what + ": softmax");
    expect_near(widened(found.grads), widened(expected.grads), part, what + ": gradients");
  }
}

TEST(LayerKernels, AttentionIsTheSameAtEveryLevel) {
  for (const int64_t s : {1, 2, 3, 4, 5, 7, 8, 11, 15, 16, 17, 20, 31, 32, 33, 47, 64, 65, 130})
    for (const int64_t dh : {7, 16, 32, 64})
      for (const bool masked : {false, true}) {
        expect_the_same_at_every_level<float>(s, dh, masked, 2e-5f);
        expect_the_same_at_every_level<Bf16>(s, dh, masked, 8e-3f);
      }
}

TEST(LayerKernels, RowsAreTheSameAtEveryLevel) {
  for (const int64_t n : {3, 15, 16, 33, 384}) {
    const auto count = static_cast<size_t>(n);
    const auto x = normal(count, 3), residual = normal(count, 4), weight = normal(count, 5), bias = normal(count, 6);
    const auto run = [&](const KernelsOf<float>& k) {
      std::vector<float> all(4 * count + 1), scratch(2 * count), sums(3 * count), wide = x, grad = residual;
      float *y = all.data(), *normalised = y + n, *gelu = normalised + n, *grad_x = gelu + n, *inverse = grad_x + n;
      k.norm({n, x.data(), residual.data(), weight.data(), weight.data(), bias.data(), 1e-12f, y, normalised, inverse}, scratch.data());
      k.norm_backward({n, residual.data(), x.data(), normalised, *inverse, nullptr, weight.data(), grad_x, grad_x, sums.data()}, scratch.data());
      k.gelu(x.data(), gelu, n);
      k.gelu_backward(wide.data(), grad.data(), n, sums.data());
      for (const auto& part : {sums, wide, grad}) all.insert(all.end(), part.begin(), part.end());
      return all;
    };
    for (const Kernels* level : kernel_levels()) expect_near(run(level->fp32), run(kernel_levels().front()->fp32), 2e-5f, std::string(level->level) + ", " + std::to_string(n));
  }
}

/// No level may go through memory where it has registers: that once took AVX2 24 times as long.
TEST(LayerKernels, AttentionOfEveryLevelIsFast) {
  Head<float> head(31, 32, false);
  std::vector<double> least(kernel_levels().size(), 1e9);
  for (int round = 0; round < 200; ++round)
    for (size_t i = 0; i < least.size(); ++i) {
      const auto start = std::chrono::steady_clock::now();
      for (int repeat = 0; repeat < 4; ++repeat) {
        head.forward(kernel_levels()[i]->fp32);
        head.backward(kernel_levels()[i]->fp32);
      }
      least[i] = std::min(least[i], std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
  const double fastest = *std::min_element(least.begin(), least.end());
  for (size_t i = 0; i < least.size(); ++i) EXPECT_LT(least[i], 8 * fastest) << kernel_levels()[i]->level << ": " << least[i] / 4 * 1e6 << " us";
}

}  // namespace
}  // namespace fmtrain
