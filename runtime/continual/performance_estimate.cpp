#include "runtime/continual/performance_estimate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace fmtrain {
namespace {

// Both: on many examples a drop too small to matter is sure, on few a large one is chance.
constexpr double kLeastDrop = 0.02, kStandardErrors = 2;

}  // namespace

Estimate share_of(double value, int64_t n) {
  return {value, n > 0 ? std::sqrt(std::max(0.0, value * (1 - value)) / static_cast<double>(n)) : 0};
}

Estimate cbpe_accuracy(const Probabilities& calibrated) {
  const auto top = confidences(calibrated);
  if (top.empty()) return {};
  return share_of(std::accumulate(top.begin(), top.end(), 0.0) / static_cast<double>(top.size()), calibrated.examples());
}

std::vector<ExpectedCounts> expected_counts(const Probabilities& calibrated) {
  std::vector<ExpectedCounts> counts(static_cast<size_t>(calibrated.classes));
  const auto predicted = predictions(calibrated);
  for (int64_t i = 0; i < calibrated.examples(); ++i) {
    const auto row = calibrated.row(i);
    const auto k = static_cast<size_t>(predicted[static_cast<size_t>(i)]);
    // The label is class c with probability row[c], so a prediction of k is right with probability row[k].
    counts[k].correct += static_cast<double>(row[k]);
    counts[k].predicted += 1;
    for (size_t c = 0; c < row.size(); ++c) counts[c].truth += static_cast<double>(row[c]);
  }
  return counts;
}

double cbpe_macro_f1(const Probabilities& calibrated) {
  const auto counts = expected_counts(calibrated);
  double sum = 0;
  for (const auto& one : counts) sum += one.f1();
  return counts.empty() ? 0 : sum / static_cast<double>(counts.size());
}

double atc_threshold(std::span<const double> scores, const std::vector<bool>& correct) {
  std::vector<double> ascending(scores.begin(), scores.end());
  std::sort(ascending.begin(), ascending.end());
  const auto errors = static_cast<size_t>(std::count(correct.begin(), correct.end(), false));
  // `errors` scores are smaller than the one at that place. All wrong: no score is high enough.
  return errors < ascending.size() ? ascending[errors] : std::numeric_limits<double>::infinity();
}

Estimate atc_accuracy(std::span<const double> scores, double threshold) {
  if (scores.empty()) return {};
  const auto above = std::count_if(scores.begin(), scores.end(), [&](double s) { return s >= threshold; });
  return share_of(static_cast<double>(above) / static_cast<double>(scores.size()), static_cast<int64_t>(scores.size()));
}

bool performance_dropped(const Estimate& measured, const Estimate& estimated) {
  const double drop = measured.value - estimated.value;
  return drop > kLeastDrop && drop > kStandardErrors * std::hypot(measured.standard_error, estimated.standard_error);
}

}  // namespace fmtrain
