#include "runtime/continual/class_drift.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace fmtrain {
namespace {

constexpr double kLeastExpected = 5;

struct Cell {
  int64_t a = 0, b = 0;
  int64_t both() const { return a + b; }
};

int64_t sum(std::span<const int64_t> counts) { return std::accumulate(counts.begin(), counts.end(), int64_t{0}); }

/// Ascending by size, small ones merged from below. `least`: the size that gives both samples the least expectation.
std::vector<Cell> merged(std::span<const int64_t> a, std::span<const int64_t> b, double least) {
  std::vector<Cell> cells;
  for (size_t k = 0; k < a.size(); ++k)
    if (a[k] + b[k] > 0) cells.push_back({a[k], b[k]});
  std::stable_sort(cells.begin(), cells.end(), [](const Cell& x, const Cell& y) { return x.both() < y.both(); });
  std::vector<Cell> result;
  for (const Cell& cell : cells) {
    const bool joins =
        !result.empty() && (static_cast<double>(cell.both()) < least || static_cast<double>(result[0].both()) < least);
    if (joins) result[0] = {result[0].a + cell.a, result[0].b + cell.b};
    else result.push_back(cell);
  }
  return result;
}

double term(double share, double middle) { return share > 0 ? share * std::log2(share / middle) : 0; }

}  // namespace

ChiSquareTest chi_square_test(std::span<const int64_t> a, std::span<const int64_t> b) {
  const auto na = static_cast<double>(sum(a)), nb = static_cast<double>(sum(b)), all = na + nb;
  if (na == 0 || nb == 0) return {};
  const auto cells = merged(a, b, kLeastExpected * all / std::min(na, nb));
  ChiSquareTest test{0, 1, static_cast<int64_t>(cells.size())};
  if (cells.size() < 2) return test;
  for (const Cell& cell : cells) {
    const double ea = static_cast<double>(cell.both()) * na / all, eb = static_cast<double>(cell.both()) * nb / all;
    const double da = static_cast<double>(cell.a) - ea, db = static_cast<double>(cell.b) - eb;
    test.statistic += da * da / ea + db * db / eb;
  }
  test.p = chi_square_tail(test.statistic, static_cast<double>(cells.size() - 1));
  return test;
}

double js_divergence(std::span<const int64_t> a, std::span<const int64_t> b) {
  const auto na = static_cast<double>(sum(a)), nb = static_cast<double>(sum(b));
  double divergence = 0;
  for (size_t k = 0; k < a.size(); ++k) {
    const double p = static_cast<double>(a[k]) / na, q = static_cast<double>(b[k]) / nb, middle = (p + q) / 2;
    divergence += (term(p, middle) + term(q, middle)) / 2;
  }
  return divergence;
}

double chi_square_tail(double x, double degrees_of_freedom) {
  const auto number = [](double v) { return at::scalar_tensor(v, at::kDouble); };
  return at::special_gammaincc(number(degrees_of_freedom / 2), number(x / 2)).item<double>();
}

}  // namespace fmtrain
