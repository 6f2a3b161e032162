// Two-sample Kolmogorov-Smirnov test: names the dimensions that moved.
#pragma once
#include <span>

namespace fmtrain {

struct KsTest {
  double d = 0;  ///< largest distance of the two empirical distribution functions
  double p = 1;  ///< two-sided
};

/// Both samples are not empty and hold no NaN.
///
/// p is exact as long as m n <= 4e8 (all defaults: 5,000 and 1,000): the chance that a random order of the m + n values has a
/// distance of at least d, by the recurrence over lattice paths (Hodges, "The significance probability of the Smirnov
/// two-sample test", 1958), which is also what scipy.stats.ks_2samp does for samples of up to 10,000. Above that, Kolmogorov's
/// limit 2 sum (-1)^(k-1) exp(-2 k^2 d^2 m n / (m + n)). Ties make the exact p too large, never too small.
KsTest ks_test(std::span<const double> x, std::span<const double> y);

}  // namespace fmtrain
