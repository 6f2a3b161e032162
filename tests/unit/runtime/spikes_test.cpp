#include "runtime/spikes.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <map>
#include <random>

namespace fmtrain {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

/// {loss, gradient norm} of every step.
using Curve = std::vector<std::pair<double, double>>;

/// Steps (from 1) at which something was said, and what.
std::map<size_t, std::string> said(const Curve& curve) {
  Spikes spikes;
  std::map<size_t, std::string> all;
  for (size_t i = 0; i < curve.size(); ++i)
    if (auto text = spikes.step(curve[i].first, curve[i].second); !text.empty()) all[i + 1] = std::move(text);
  return all;
}

/// tiny_cpu.txt: configs/tiny_cpu.yaml, 48 epochs; ner_wnut17.txt: configs/ner_wnut17.yaml. Of log.jsonl loss and grad_norm.
Curve recorded(const std::string& name) {
  std::ifstream file(std::string(FMTRAIN_SOURCE_DIR) + "/tests/golden/curves/" + name);
  Curve curve;
  for (double loss = 0, norm = 0; file >> loss >> norm;) curve.emplace_back(loss, norm);
  return curve;
}

/// Loss and norm fall and scatter as those of a run do.
Curve synthetic(size_t steps, unsigned seed) {
  std::mt19937 random(seed);
  std::lognormal_distribution<> loss(0, 0.2), norm(0, 0.4);
  Curve curve;
  for (size_t i = 0; i < steps; ++i) {
    const double level = 0.3 + 3 * std::exp(-static_cast<double>(i) / 200);
    curve.emplace_back(level * loss(random), level * norm(random));
  }
  return curve;
}

TEST(Spikes, ThereAreNoneInRecordedRuns) {
  for (const auto& [name, steps] : {std::pair{"tiny_cpu.txt", 624u}, {"ner_wnut17.txt", 321u}}) {
    const auto curve = recorded(name);
    ASSERT_EQ(curve.size(), steps) << name;
    EXPECT_THAT(said(curve), IsEmpty()) << name;
  }
}

TEST(Spikes, ThereAreNoneInTenThousandStepsOfNoise) {
  for (unsigned seed = 1; seed <= 3; ++seed) EXPECT_THAT(said(synthetic(10'000, seed)), IsEmpty());
}

/// Into recorded and synthetic runs, at any step from the 21st on: 10 times what came before.
TEST(Spikes, TenTimesTheLargestIsFoundAnywhere) {
  for (auto curve : {recorded("tiny_cpu.txt"), recorded("ner_wnut17.txt"), synthetic(300, 7)})
    for (size_t at = 20; at < curve.size(); at += 13) {
      auto broken = curve;
      double largest = 0;
      for (size_t i = at < 100 ? 0 : at - 100; i < at; ++i) largest = std::max(largest, curve[i].first);
      broken[at].first = 10.01 * largest;
      const auto all = said({broken.begin(), broken.begin() + static_cast<std::ptrdiff_t>(at) + 1});
      ASSERT_THAT(all, ElementsAre(Pair(at + 1, HasSubstr("loss")))) << at;
    }
}

TEST(Spikes, SixSigmasOfAHundredStepsAreOne) {
  auto curve = synthetic(150, 3);
  curve[120].second *= 20;
  const auto all = said(curve);
  ASSERT_THAT(all, ElementsAre(Pair(121, HasSubstr("gradient norm"))));
  EXPECT_THAT(all.begin()->second, Not(HasSubstr("loss")));
  curve.resize(50);
  double largest = 0;
  for (size_t i = 0; i < 40; ++i) largest = std::max(largest, curve[i].second);
  curve[40].second = 9 * largest;  // no hundred steps yet, and not ten times the largest
  EXPECT_THAT(said(curve), IsEmpty());
}

/// A loss that has left for good is told once; one that came back and left again, twice.
TEST(Spikes, OneEventIsToldOnce) {
  auto curve = synthetic(400, 5);
  for (size_t i = 200; i < 230; ++i) curve[i].first *= 50;
  EXPECT_THAT(said(curve), ElementsAre(Pair(201, HasSubstr("loss"))));
  for (size_t i = 360; i < 363; ++i) curve[i].second *= 200;
  EXPECT_EQ(said(curve).size(), 2u);
}

TEST(Spikes, TinyAndConstantValuesAreNone) {
  Curve curve(300, {1e-9, 1e-7});
  curve[250] = {9e-4, 9e-4};
  EXPECT_THAT(said(curve), IsEmpty());
  curve[260] = {0.5, 1e-7};
  EXPECT_EQ(said(curve).size(), 1u);
}

}  // namespace
}  // namespace fmtrain
