// p values of several tests at once, adjusted so that "adjusted p <= alpha" keeps the chance of any false alarm at alpha.
#pragma once
#include <span>
#include <vector>

namespace fmtrain {

/// Holm's step-down: never larger than Bonferroni's, and as safe ("A simple sequentially rejective multiple test procedure",
/// Scandinavian Journal of Statistics 6, 1979).
std::vector<double> holm(std::span<const double> p);

}  // namespace fmtrain
