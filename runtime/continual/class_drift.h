// Has the mix of classes changed? For labels and for predicted classes.
#pragma once
#include <cstdint>
#include <span>

namespace fmtrain {

struct ChiSquareTest {
  double statistic = 0, p = 1;
  int64_t cells = 0;  ///< after merging; degrees of freedom are one fewer. Below 2 nothing can be said: statistic 0, p 1
};

/// Pearson's test that two samples have the same class probabilities; counts per class, same length. Classes with an expected
/// count below 5 in either sample are merged, smallest first, and the result with the smallest of the others until it has 5.
ChiSquareTest chi_square_test(std::span<const int64_t> a, std::span<const int64_t> b);

/// Jensen-Shannon divergence of the two class shares, base 2: 0 equal .. 1 disjoint. How large a change is, whatever n.
/// Both samples are not empty.
double js_divergence(std::span<const int64_t> a, std::span<const int64_t> b);

/// P(X >= x) of a chi-square variable: the regularised upper incomplete gamma function, from LibTorch.
double chi_square_tail(double x, double degrees_of_freedom);

}  // namespace fmtrain
