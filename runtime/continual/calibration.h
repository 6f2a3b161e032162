// Are probabilities what they say? Temperature scaling (Guo et al., "On calibration of modern neural networks", ICML 2017), and
// the expected calibration error.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace fmtrain {

/// Class probabilities of n examples: values [n, classes], each row sums to 1.
struct Probabilities {
  std::span<const float> values;
  int64_t classes = 0;
  int64_t examples() const { return classes ? static_cast<int64_t>(values.size()) / classes : 0; }
  std::span<const float> row(int64_t i) const {
    return values.subspan(static_cast<size_t>(i * classes), static_cast<size_t>(classes));
  }
};

/// Throws std::invalid_argument unless there is a label for every example, each of [0, classes).
void require_labels(const Probabilities& probabilities, std::span<const int32_t> labels);

/// T > 0 in [0.01, 100] that makes softmax(ln p / T) most likely for the labels [n]; above 1: the model was too sure. Order of
/// classes, hence every prediction, stays. The likelihood is concave in 1 / T: one maximum, found to 1e-10 by Newton's method
/// kept inside a bracket. A probability below 1e-30 counts as that.
/// Labels as require_labels() wants them.
double fit_temperature(const Probabilities& probabilities, std::span<const int32_t> labels);

/// softmax(ln p / T) of every row.
std::vector<float> scaled(const Probabilities& probabilities, double temperature);

/// Top probability of every row, and its class (the first of equals).
std::vector<double> confidences(const Probabilities& probabilities);
std::vector<int32_t> predictions(const Probabilities& probabilities);

/// Sum over `bins` bins of equal width (a bin holds its upper edge) of share * |accuracy - mean confidence|. A perfect model
/// has about 0.024 at n = 1,000 and 0.054 at 200: no figure to judge by on few examples.
double expected_calibration_error(std::span<const double> confidence, const std::vector<bool>& correct, int bins = 15);

}  // namespace fmtrain
