// The optimizers' passes of every processor level that this machine has give the bits of the lowest.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "models/ops/kernels.h"

namespace fmtrain {
namespace {

constexpr int64_t kNumel = 4099;  // whole vectors of every width, and some more

/// Of many magnitudes, some of them denormal.
std::vector<float> numbers(uint32_t seed, bool positive) {
  std::mt19937 random(seed);
  std::vector<float> values;
  for (int64_t i = 0; i < kNumel; ++i) {
    const float sign = positive || random() % 2 == 0 ? 1.0f : -1.0f;
    values.push_back(sign * std::ldexp(1.0f + static_cast<float>(random() % 8388608) * 0x1p-23f, -static_cast<int>(random() % (i % 50 == 0 ? 140 : 12))));
  }
  return values;
}

struct Memory {
  std::vector<float> param = numbers(1, false), grad = numbers(2, false), first = numbers(3, false), second = numbers(4, true);
  std::vector<Bf16> low = std::vector<Bf16>(kNumel);
  std::array<double, SumOfSquares::kLanes> sums{};

  std::vector<char> bytes() const {
    std::vector<char> all;
    const auto add = [&](const auto& part) {
      const auto* begin = reinterpret_cast<const char*>(part.data());
      all.insert(all.end(), begin, begin + part.size() * sizeof part[0]);
    };
    add(param), add(grad), add(first), add(second), add(low), add(sums);
    return all;
  }
};

/// Each of the passes, on memory of its own.
std::vector<std::vector<char>> results(const UpdateKernels& k) {
  const AdamWUpdate adam = adamw_update(1e-3, 0.01, 0.9, 0.999, 1e-8, 0.37, 3);
  std::vector<std::vector<char>> all;
  const auto run = [&](const auto& pass) {
    Memory m;
    pass(m);
    all.push_back(m.bytes());
  };
  run([&](Memory& m) { k.adamw(adam, m.param.data(), m.grad.data(), m.first.data(), m.second.data(), kNumel); });
  run([&](Memory& m) { k.adamw_low(adam, m.param.data(), m.grad.data(), m.first.data(), m.second.data(), m.low.data(), kNumel); });
  run([&](Memory& m) { k.decay(0.99997f, m.param.data(), kNumel); });
  run([&](Memory& m) { k.sgd({0.37f, 0.01f, 0.9f, 1e-3f}, m.param.data(), m.grad.data(), m.first.data(), kNumel); });
  run([&](Memory& m) { k.lamb(lamb_update(0.01, 0.9, 0.999, 1e-6, 0.37, 3), m.param.data(), m.grad.data(), m.first.data(), m.second.data(), kNumel); });
  run([&](Memory& m) { k.direction(1e-3f, m.param.data(), m.grad.data(), kNumel); });
  run([&](Memory& m) { k.pull(0.13f, m.param.data(), m.first.data(), kNumel); });
  run([&](Memory& m) { k.add_squares(m.grad.data(), kNumel, m.sums.data()); });
  run([&](Memory& m) {
    const float special[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -0.0f, 1.00390625f, 1.01171875f};
    std::memcpy(m.param.data() + 31, special, sizeof special);
    k.round_low(m.param.data(), m.low.data(), kNumel);
  });
  return all;
}

TEST(UpdateKernels, GiveTheSameBitsAtEveryLevel) {
  const auto expected = results(kernel_levels().front()->update);
  for (const auto& bytes : expected) EXPECT_NE(bytes, Memory().bytes()) << "a pass that does nothing";
  for (const Kernels* level : kernel_levels()) {
    const auto found = results(level->update);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t pass = 0; pass < found.size(); ++pass) EXPECT_EQ(found[pass], expected[pass]) << level->level << ", pass " << pass;
  }
}

TEST(UpdateKernels, IdsAndPositions) {
  const std::vector<int32_t> ids{7, -1, 30521, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min(), 0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14};
  for (const Kernels* level : kernel_levels())
    for (int64_t n = 0; n <= std::ssize(ids); ++n) {
      std::vector<int64_t> wide(ids.size() + 1, -7), counted(ids.size() + 1, -7);
      level->widen(ids.data(), n, wide.data());
      level->count_up(n, counted.data());
      for (int64_t i = 0; i <= std::ssize(ids); ++i) {
        EXPECT_EQ(wide[static_cast<size_t>(i)], i < n ? ids[static_cast<size_t>(i)] : -7) << level->level;
        EXPECT_EQ(counted[static_cast<size_t>(i)], i < n ? i : -7) << level->level;
      }
    }
}

}  // namespace
}  // namespace fmtrain
