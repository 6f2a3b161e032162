#include "runtime/continual/binomial.h"

#include <algorithm>
#include <cmath>

namespace fmtrain {

std::vector<double> log_factorials(int64_t n) {
  std::vector<double> result(static_cast<size_t>(n + 1), 0.0);
  for (size_t k = 1; k < result.size(); ++k) result[k] = result[k - 1] + std::log(static_cast<double>(k));
  return result;
}

double half_binomial_cdf(int64_t k, int64_t n) {
  const auto factorials = log_factorials(n);
  double term = std::exp(factorials[static_cast<size_t>(n)] - factorials[static_cast<size_t>(k)] -
                         factorials[static_cast<size_t>(n - k)] - static_cast<double>(n) * std::log(2.0));
  double sum = 0;
  for (int64_t i = k; i >= 0; --i) {
    sum += term;
    term *= static_cast<double>(i) / static_cast<double>(n - i + 1);
  }
  return std::min(sum, 1.0);
}

BinomialDraws::BinomialDraws(double p, const std::vector<double>& factorials)
    : p_(p), log_p_(std::log(p)), log_q_(std::log1p(-p)), odds_(p / (1 - p)), factorials_(factorials) {}

int64_t BinomialDraws::draw(double u, int64_t n) const {
  if (p_ <= 0 || n == 0) return 0;
  if (p_ >= 1) return n;
  const int64_t mode = std::min(n, static_cast<int64_t>(static_cast<double>(n + 1) * p_));
  const double at_mode = std::exp(factorials_[static_cast<size_t>(n)] - factorials_[static_cast<size_t>(mode)] -
                                  factorials_[static_cast<size_t>(n - mode)] + static_cast<double>(mode) * log_p_ +
                                  static_cast<double>(n - mode) * log_q_);
  u -= at_mode;
  if (u < 0) return mode;
  double above = at_mode, below = at_mode;
  for (int64_t high = mode, low = mode; high < n || low > 0;) {
    if (high < n) {
      above *= odds_ * static_cast<double>(n - high) / static_cast<double>(high + 1);
      ++high;
      if ((u -= above) < 0) return high;
    }
    if (low > 0) {
      below *= static_cast<double>(low) / (odds_ * static_cast<double>(n - low + 1));
      --low;
      if ((u -= below) < 0) return low;
    }
  }
  return mode;  // u within rounding of 1
}

}  // namespace fmtrain
