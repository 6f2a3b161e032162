// Order statistics with linear interpolation, as numpy.percentile gives them.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

namespace fmtrain {

/// The point below which `share` (0..1) of the ascending, not empty values lie; linear between neighbours.
inline double percentile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - std::floor(at)) * (sorted[above] - sorted[below]);
}

}  // namespace fmtrain
