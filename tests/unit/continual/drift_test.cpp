// Drift statistics: the same bits for every number of ranks and threads, corner cases, false alarms and power in small.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <barrier>
#include <cmath>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include "bench/continual/samples.h"
#include "runtime/continual/drift_report.h"
#include "runtime/continual/ks.h"
#include "runtime/continual/order_statistic.h"

namespace fmtrain {
namespace {

/// Ranks one after the other: each adds what the ones before wrote down. Only for functions with one collective call each.
std::vector<double> sums_of(const std::vector<float>& pool, int64_t dims, double sigma, const Splits& splits, int ranks) {
  std::vector<double> all;
  for (int r = 0; r < ranks; ++r) {
    const PairDistances distances(pool, dims, {r, ranks});
    const auto mine = kernel_sums(distances, sigma, splits);
    all.resize(mine.size(), 0.0);
    for (size_t i = 0; i < mine.size(); ++i) all[i] += mine[i];
  }
  return all;
}

TEST(Mmd, TheSameBitsForEveryNumberOfRanks) {
  const auto pool = normal_rows(1500, 8, 1);   // three tiles, six blocks
  for (const int64_t points : {1500, 1100}) {  // all of them, and a part that ends inside a tile
    const auto splits = random_splits(points, 600, 20, 3);
    const auto one = mmd2_from_sums(sums_of(pool, 8, 2.5, splits, 1), splits);
    for (const int ranks : {2, 3, 6, 8}) EXPECT_EQ(mmd2_from_sums(sums_of(pool, 8, 2.5, splits, ranks), splits), one) << ranks;
  }
}

/// A sum over all pairs of each kind, as the formula has it.
TEST(Mmd, OfAPartOfThePoolAsOfThatPartAlone) {
  const auto pool = normal_rows(1500, 8, 1);
  const std::vector<float> part(pool.begin(), pool.begin() + 700 * 8);
  const auto splits = random_splits(700, 650, 5, 3);
  EXPECT_EQ(splits.part, 50);  // the smaller one is named
  const auto of_part = mmd2_from_sums(sums_of(part, 8, 2.5, splits, 1), splits);
  const auto of_pool = mmd2_from_sums(sums_of(pool, 8, 2.5, splits, 1), splits);
  ASSERT_EQ(of_part.size(), 5u);
  for (size_t s = 0; s < 5; ++s) {
    std::vector<bool> named(700, false);
    for (const auto row : splits.named[s]) named[static_cast<size_t>(row)] = true;
    double sums[3] = {};
    for (size_t i = 0; i < 700; ++i)
      for (size_t j = i + 1; j < 700; ++j) {
        double square = 0;
        for (size_t d = 0; d < 8; ++d) square += std::pow(double{part[8 * i + d]} - double{part[8 * j + d]}, 2);
        sums[named[i] + named[j]] += std::exp(-square / (2 * 2.5 * 2.5));
      }
    const double expected = 2 * sums[2] / (50 * 49) + 2 * sums[0] / (650 * 649) - 2 * sums[1] / (50 * 650);
    EXPECT_NEAR(of_part[s], expected, 1e-12);
    EXPECT_NEAR(of_pool[s], expected, 1e-12);
  }
}

/// Of rows of any direction the difference of products is a little above 0, or below.
TEST(Mmd, EqualRowsAreAtDistanceZero) {
  auto pool = normal_rows(600, 768, 5);
  std::copy(pool.begin(), pool.begin() + 300 * 768, pool.begin() + 300 * 768);  // row i + 300 is row i
  pool[599 * 768] = std::nextafter(pool[599 * 768], 9.0f);                      // but for the last one, by one bit
  const PairDistances distances(pool, 768, {});
  const auto block = distances.block(0);  // rows of the first tile: 0 to 511
  for (int64_t i = 0; i < 212; ++i) EXPECT_EQ(block[i][i + 300].item<double>(), 0) << i;
  const double step = double{pool[599 * 768]} - double{pool[299 * 768]};
  EXPECT_GT(step, 0);
  EXPECT_EQ(distances.block(1)[299][599 - 512].item<double>(), step * step);
}

/// Ranks as threads, with sums that are added in the order in which they come.
template <class Number>
class Summed {
 public:
  explicit Summed(std::ptrdiff_t ranks) : arrived_(ranks) {}
  void operator()(std::span<Number> mine) {
    {
      const std::lock_guard lock(mutex_);
      sum_.resize(mine.size(), 0);
      for (size_t i = 0; i < mine.size(); ++i) sum_[i] += mine[i];
    }
    arrived_.arrive_and_wait();
    std::copy(sum_.begin(), sum_.end(), mine.begin());
    arrived_.arrive_and_wait();
    {
      const std::lock_guard lock(mutex_);
      sum_.clear();
    }
    arrived_.arrive_and_wait();
  }

 private:
  std::mutex mutex_;
  std::barrier<> arrived_;
  std::vector<Number> sum_;
};

TEST(Mmd, TheWholeTestOnSeveralRanks) {
  const auto x = normal_rows(700, 8, 1), y = normal_rows(600, 8, 2);
  const MmdTest one = mmd_test(x, y, 8, 50, 9);
  for (const int size : {2, 3, 8}) {
    Summed<int64_t> counts(size);
    Summed<double> sums(size);
    std::vector<MmdTest> found(static_cast<size_t>(size));
    std::vector<std::thread> ranks;
    for (int r = 0; r < size; ++r)
      ranks.emplace_back([&, r] {
        found[static_cast<size_t>(r)] = mmd_test(x, y, 8, 50, 9, {r, size, std::ref(counts), std::ref(sums)});
      });
    for (auto& rank : ranks) rank.join();
    for (const auto& other : found) {
      EXPECT_EQ(other.mmd2, one.mmd2) << size;
      EXPECT_EQ(other.sigma, one.sigma) << size;
      EXPECT_EQ(other.p, one.p) << size;
    }
  }
}

TEST(Mmd, ABlockAloneIsOneThreadsToo) {
  at::set_num_threads(2);
  for (const int64_t blocks : {1, 3}) {
    std::mutex mutex;
    std::vector<bool> alone;
    each_by_one_thread(5, 5 + blocks, [&](int64_t) {
      const std::lock_guard lock(mutex);
      alone.push_back(at::in_parallel_region());
    });
    EXPECT_EQ(alone, std::vector<bool>(static_cast<size_t>(blocks), true));
  }
  each_by_one_thread(5, 5, [](int64_t) { FAIL() << "no block"; });
  at::set_num_threads(1);
}

TEST(Mmd, TheSameBitsForEveryNumberOfThreads) {
  const auto x = normal_rows(700, 16, 1), y = normal_rows(600, 16, 2);
  at::set_num_threads(1);
  const MmdTest one = mmd_test(x, y, 16, 50, 9);
  at::set_num_threads(2);
  const MmdTest two = mmd_test(x, y, 16, 50, 9);
  at::set_num_threads(1);
  EXPECT_EQ(one.mmd2, two.mmd2);
  EXPECT_EQ(one.sigma, two.sigma);
  EXPECT_EQ(one.p, two.p);
}

TEST(Mmd, EachPairOnceAndTheMedianOfAll) {
  const auto pool = normal_rows(530, 3, 5);
  std::vector<double> expected;
  for (size_t i = 0; i < 530; ++i)
    for (size_t j = i + 1; j < 530; ++j) {
      double sum = 0;
      for (size_t k = 0; k < 3; ++k)
        sum += std::pow(static_cast<double>(pool[3 * i + k]) - static_cast<double>(pool[3 * j + k]), 2);
      expected.push_back(std::sqrt(sum));
    }
  std::sort(expected.begin(), expected.end());
  const double median = expected.size() % 2 ? expected[expected.size() / 2]
                                            : (expected[expected.size() / 2 - 1] + expected[expected.size() / 2]) / 2;
  EXPECT_NEAR(PairDistances(pool, 3, {}).median({}), median, 1e-12);
}

TEST(Mmd, EqualPointsAreNoDrift) {
  const std::vector<float> same(40, 1.5f);
  const MmdTest test = mmd_test(same, same, 4, 99, 1);
  EXPECT_EQ(test.mmd2, 0);
  EXPECT_EQ(test.p, 1);
}

TEST(Mmd, SplitsDrawEveryRowEquallyOften) {
  for (const int64_t part : {10, 40}) {  // of 40 the 10 others are drawn
    const auto splits = random_splits(50, part, 4000, 1);
    EXPECT_EQ(splits.part, 10);
    ASSERT_EQ(splits.named.size(), 4000u);
    std::vector<int> often(50, 0);  // mean 800, standard deviation 25.3
    for (const auto& rows : splits.named) {
      EXPECT_EQ(std::set<int32_t>(rows.begin(), rows.end()).size(), 10u);
      EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end()));
      for (const auto row : rows) ++often.at(static_cast<size_t>(row));
    }
    EXPECT_GT(*std::min_element(often.begin(), often.end()), 800 - 5 * 25.3);
    EXPECT_LT(*std::max_element(often.begin(), often.end()), 800 + 5 * 25.3);
  }
}

/// Few of the runs that bench/continual/simulate makes: a test without level or without power would not pass.
TEST(Mmd, FewFalseAlarmsAndFindsAShift) {
  int false_alarms = 0, found = 0;
  for (uint64_t run = 0; run < 40; ++run) {
    const auto x = latent_rows(500, 32, 0, 3 * run), y = latent_rows(500, 32, 0, 3 * run + 1),
               z = latent_rows(500, 32, 0.5, 3 * run + 2);
    false_alarms += mmd_test(x, y, 32, 200, run).p <= 0.01;
    found += mmd_test(x, z, 32, 200, run).p <= 0.01;
  }
  EXPECT_LE(false_alarms, 3);  // 0.4 expected; more than 3: 1 in 1,000
  EXPECT_GE(found, 36);
}

TEST(OrderStatistic, ExactOverRanksAndWithoutMarkedPlaces) {
  std::vector<double> values{3, -1, 0, 1e-300, 5, 5, -1, 1e300, 0.1, 2.5}, sorted;
  for (const double v : values)
    if (v >= 0) sorted.push_back(v);
  std::sort(sorted.begin(), sorted.end());
  // Another rank's numbers are stood in for by their counts: they are the same as ours, so every number is there twice.
  const Ranks twice{0, 2, [](std::span<int64_t> counts) {
                      for (auto& c : counts) c *= 2;
                    }};
  for (size_t k = 0; k < sorted.size(); ++k) {
    const auto at = static_cast<int64_t>(k);
    EXPECT_EQ(order_statistics({values}, {at}, {}), std::vector{sorted[k]});
    EXPECT_EQ(order_statistics({values}, {2 * at + 1}, twice), std::vector{sorted[k]});
    EXPECT_EQ(order_statistics({values}, {at, 0, at}, {}), (std::vector{sorted[k], sorted[0], sorted[k]}));
  }
}

/// Two samples of equal steps, the second one moved by 0.01: d is 0.01.
KsTest moved(size_t m, size_t n) {
  std::vector<double> x(m), y(n);
  for (size_t i = 0; i < m; ++i) x[i] = static_cast<double>(i) / static_cast<double>(m);
  for (size_t i = 0; i < n; ++i) y[i] = static_cast<double>(i) / static_cast<double>(n) + 0.01;
  return ks_test(x, y);
}

TEST(Ks, LargeSamples) {
  EXPECT_NEAR(moved(26000, 15000).p, 0.29081452458570706, 1e-9);  // 3.9e8 cells: exact, from scipy.stats.ks_2samp
  EXPECT_NEAR(moved(28000, 15000).p, 0.27885702918156233,
              1e-9);  // 4.2e8 cells: the limit at its d, from scipy.special.kolmogorov
}

TEST(ClassDrift, SaysNothingOfOneClassOrNoExamples) {
  EXPECT_EQ(chi_square_test(std::vector<int64_t>{50, 0}, std::vector<int64_t>{40, 0}).p, 1);
  EXPECT_EQ(chi_square_test(std::vector<int64_t>{0, 0}, std::vector<int64_t>{40, 3}).p, 1);
  EXPECT_EQ(js_divergence(std::vector<int64_t>{7, 0}, std::vector<int64_t>{0, 9}), 1);
  EXPECT_EQ(js_divergence(std::vector<int64_t>{7, 14}, std::vector<int64_t>{1, 2}), 0);
}

TEST(Psi, SaysWhatNoDriftWouldGive) {
  const std::vector<double> values{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  EXPECT_EQ(psi(values, values).value, 0);
  EXPECT_DOUBLE_EQ(psi(values, values).expected, 1.8);
}

TEST(Estimates, StandardErrorsOfTheDesign) {
  EXPECT_NEAR(share_of(0.9, 500).standard_error, 0.013, 5e-4);
  EXPECT_NEAR(share_of(0.9, 1000).standard_error, 0.0095, 5e-5);
  EXPECT_NEAR(share_of(0.9, 2000).standard_error, 0.0067, 5e-5);
}

TEST(Estimates, ADropIsLargeAndSure) {
  EXPECT_TRUE(performance_dropped(share_of(0.9, 5000), share_of(0.87, 1000)));
  EXPECT_FALSE(performance_dropped(share_of(0.9, 5000), share_of(0.881, 100000)));  // sure, but small
  EXPECT_FALSE(performance_dropped(share_of(0.9, 500), share_of(0.87, 500)));       // large, but 1.5 standard errors
}

}  // namespace
}  // namespace fmtrain
