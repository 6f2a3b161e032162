#include "runtime/continual/mcnemar.h"

#include <algorithm>
#include <cmath>

#include "runtime/continual/binomial.h"

namespace fmtrain {
namespace {

/// Tail of the chi-square distribution with one degree of freedom.
double tail(double chi2) { return std::erfc(std::sqrt(chi2 / 2)); }

}  // namespace

McNemar mcnemar(int64_t b, int64_t c) {
  McNemar test{b, c};
  if (b + c == 0) return test;
  test.exact_p = std::min(1.0, 2 * half_binomial_cdf(std::min(b, c), b + c));
  const auto apart = static_cast<double>(std::abs(b - c)), corrected = std::max(0.0, apart - 1),
             all = static_cast<double>(b + c);
  test.chi2 = apart * apart / all;
  test.p = tail(test.chi2);
  test.corrected_chi2 = corrected * corrected / all;
  test.corrected_p = tail(test.corrected_chi2);
  return test;
}

}  // namespace fmtrain
