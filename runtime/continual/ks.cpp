#include "runtime/continual/ks.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace fmtrain {
namespace {

constexpr int64_t kExactCells = 400'000'000;  ///< of the lattice; only those of a band of width 2 d are visited

std::vector<double> sorted(std::span<const double> values) {
  std::vector<double> result(values.begin(), values.end());
  std::sort(result.begin(), result.end());
  return result;
}

/// max |i n - j m| over the steps of the two distribution functions: d m n, without rounding.
int64_t scaled_distance(const std::vector<double>& x, const std::vector<double>& y) {
  const auto m = static_cast<int64_t>(x.size()), n = static_cast<int64_t>(y.size());
  int64_t i = 0, j = 0, largest = 0;
  while (i < m && j < n) {
    const double value = std::min(x[static_cast<size_t>(i)], y[static_cast<size_t>(j)]);
    while (i < m && x[static_cast<size_t>(i)] == value) ++i;
    while (j < n && y[static_cast<size_t>(j)] == value) ++j;
    largest = std::max(largest, std::abs(i * n - j * m));
  }
  return largest;
}

/// Chance that a random path from (0, 0) to (m, n) touches |i n - j m| >= h. The last step of a path to (i, j) came from
/// (i - 1, j) with probability i / (i + j): only positive numbers are added, so small p are as exact as large ones.
double exact_tail(int64_t m, int64_t n, int64_t h) {
  std::vector<double> touched(static_cast<size_t>(n + 1), 1.0);  // of row i - 1, then of row i; 1 outside the band
  for (int64_t i = 0; i <= m; ++i) {
    const int64_t low = std::max<int64_t>(0, i * n < h ? 0 : (i * n - h) / m + 1), high = std::min(n, (i * n + h - 1) / m);
    if (low > high) return 1;
    double left = 1;
    for (int64_t j = low; j <= high; ++j) {
      auto& cell = touched[static_cast<size_t>(j)];
      // Quotients first: a cell waits for the one to its left, and should not wait for a division too.
      const auto down = static_cast<double>(i), right = static_cast<double>(j), steps = down + right;
      cell = i + j == 0 ? 0 : down / steps * cell + right / steps * left;
      left = cell;
    }
  }
  return touched[static_cast<size_t>(n)];
}

double limit_tail(double z) {
  if (z < 0.2) return 1;  // 1 - 1e-12 and nearer, where the series converges slowly
  double sum = 0;
  for (int k = 1; k <= 100; ++k) sum += (k % 2 ? 2 : -2) * std::exp(-2.0 * k * k * z * z);
  return std::clamp(sum, 0.0, 1.0);
}

}  // namespace

KsTest ks_test(std::span<const double> x, std::span<const double> y) {
  const auto m = static_cast<int64_t>(x.size()), n = static_cast<int64_t>(y.size());
  const int64_t h = scaled_distance(sorted(x), sorted(y));
  const double d = static_cast<double>(h) / (static_cast<double>(m) * static_cast<double>(n));
  if (h == 0) return {0, 1};
  if (m * n <= kExactCells) return {d, exact_tail(m, n, h)};
  return {d, limit_tail(d * std::sqrt(static_cast<double>(m) * static_cast<double>(n) / static_cast<double>(m + n)))};
}

}  // namespace fmtrain
