// The binomial distribution, as the gate needs it. Not std::lgamma: it writes to a global variable, so threads would race.
#pragma once
#include <cstdint>
#include <vector>

namespace fmtrain {

/// ln k! for k = 0..n, each the sum of logarithms in ascending order.
std::vector<double> log_factorials(int64_t n);

/// P(X <= k) of X ~ Binomial(n, 1/2).
double half_binomial_cdf(int64_t k, int64_t n);

/// Draws from Binomial(n, p) for one p and any n up to a largest one.
class BinomialDraws {
 public:
  /// `factorials`: log_factorials(largest n or more); it must outlive this. 0 <= p <= 1.
  BinomialDraws(double p, const std::vector<double>& factorials);
  /// By inversion of u in (0, 1). Outcomes are tried from the most likely one outwards, in about two standard deviations of
  /// steps; any fixed order of outcomes gives the same distribution.
  int64_t draw(double u, int64_t n) const;

 private:
  double p_, log_p_, log_q_, odds_;
  const std::vector<double>& factorials_;
};

}  // namespace fmtrain
