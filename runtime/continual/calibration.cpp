#include "runtime/continual/calibration.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace fmtrain {
namespace {

constexpr double kLeast = 1e-30;                  ///< of a probability whose logarithm is taken
constexpr double kLowest = 0.01, kHighest = 100;  ///< of 1 / T, and so of T

/// First two derivatives, by b = 1 / T, of sum_i (ln sum_c p_ic^b - b ln p_iy): the negative log likelihood.
struct Slope {
  double first = 0, second = 0;
};

Slope slope(const Probabilities& probabilities, std::span<const int32_t> labels, double b) {
  Slope result;
  for (int64_t i = 0; i < probabilities.examples(); ++i) {
    const auto row = probabilities.row(i);
    double weights = 0, mean = 0, square = 0;
    const double top = std::log(std::max<double>(*std::max_element(row.begin(), row.end()), kLeast));
    for (const float p : row) {
      const double logit = std::log(std::max<double>(p, kLeast)), weight = std::exp(b * (logit - top));
      weights += weight;
      mean += weight * logit;
      square += weight * logit * logit;
    }
    mean /= weights;
    result.first += mean - std::log(std::max<double>(row[static_cast<size_t>(labels[static_cast<size_t>(i)])], kLeast));
    result.second += square / weights - mean * mean;
  }
  return result;
}

}  // namespace

void require_labels(const Probabilities& probabilities, std::span<const int32_t> labels) {
  if (probabilities.examples() * probabilities.classes != static_cast<int64_t>(probabilities.values.size()) ||
      probabilities.examples() != static_cast<int64_t>(labels.size()))
    throw std::invalid_argument("labels and probabilities have different length");
  for (const int32_t label : labels)
    if (label < 0 || label >= probabilities.classes)
      throw std::invalid_argument("label " + std::to_string(label) + " is none of " + std::to_string(probabilities.classes) +
                                  " classes");
}

double fit_temperature(const Probabilities& probabilities, std::span<const int32_t> labels) {
  require_labels(probabilities, labels);
  double low = kLowest, high = kHighest, b = 1;
  for (int i = 0; i < 200 && high - low > 1e-10 * b; ++i) {
    const Slope at = slope(probabilities, labels, b);
    (at.first > 0 ? high : low) = b;
    const double newton = b - at.first / at.second;
    const double next = at.second > 0 && newton > low && newton < high ? newton : std::sqrt(low * high);
    if (std::abs(next - b) < 1e-12 * b) break;
    b = next;
  }
  return 1 / b;
}

std::vector<float> scaled(const Probabilities& probabilities, double temperature) {
  std::vector<float> result;
  result.reserve(probabilities.values.size());
  std::vector<double> weights(static_cast<size_t>(probabilities.classes));
  for (int64_t i = 0; i < probabilities.examples(); ++i) {
    const auto row = probabilities.row(i);
    const double top = std::max<double>(*std::max_element(row.begin(), row.end()), kLeast);
    double sum = 0;
    for (size_t c = 0; c < row.size(); ++c)
      sum += weights[c] = std::pow(std::max<double>(row[c], kLeast) / top, 1 / temperature);
    for (const double weight : weights) result.push_back(static_cast<float>(weight / sum));
  }
  return result;
}

std::vector<double> confidences(const Probabilities& probabilities) {
  std::vector<double> result;
  for (int64_t i = 0; i < probabilities.examples(); ++i) {
    const auto row = probabilities.row(i);
    result.push_back(*std::max_element(row.begin(), row.end()));
  }
  return result;
}

std::vector<int32_t> predictions(const Probabilities& probabilities) {
  std::vector<int32_t> result;
  for (int64_t i = 0; i < probabilities.examples(); ++i) {
    const auto row = probabilities.row(i);
    result.push_back(static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
  }
  return result;
}

double expected_calibration_error(std::span<const double> confidence, const std::vector<bool>& correct, int bins) {
  std::vector<double> gap(static_cast<size_t>(bins), 0.0);  // sum of correct - confidence
  for (size_t i = 0; i < confidence.size(); ++i) {
    const int bin = static_cast<int>(std::ceil(confidence[i] * bins)) - 1;
    gap[static_cast<size_t>(std::clamp(bin, 0, bins - 1))] += (correct[i] ? 1 : 0) - confidence[i];
  }
  double sum = 0;
  for (const double g : gap) sum += std::abs(g);
  return confidence.empty() ? 0 : sum / static_cast<double>(confidence.size());
}

}  // namespace fmtrain
