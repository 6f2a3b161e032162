// Population stability index of one number per example (length, share of unknown tokens, mean intensity, ...).
#pragma once
#include <cstdint>
#include <span>

namespace fmtrain {

struct Psi {
  double value = 0;     ///< sum over bins of (q - p) ln(q / p): p share of the reference, q of the window
  double expected = 0;  ///< its mean without drift, about (bins - 1)(1/n + 1/m): the usual limits 0.1 and 0.25 need n >= 500
};

/// Bins are the deciles of the reference, with linear interpolation as numpy.percentile gives them; a value on an edge counts
/// to the upper bin, on several equal edges (it is a tenth of the reference and more) to the bin in the middle of them, so that
/// smaller and larger values have bins of their own. Shares below 1e-4 count as 1e-4. Both samples are not empty.
Psi psi(std::span<const double> reference, std::span<const double> window);

}  // namespace fmtrain
