#include "runtime/spikes.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <span>

namespace fmtrain {
namespace {

constexpr size_t kLeast = 20;  ///< values before anything is judged
constexpr double kFactor = 10, kSigmas = 6, kConsistent = 1.4826, kLeastSigma = 0.05, kLeastValue = 1e-3;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::string spike_text(const char* name, double value, double limit) {
  char text[100];
  std::snprintf(text, sizeof text, "%s %.4g is far above that of the steps before (limit %.4g)", name, value, limit);
  return text;
}

}  // namespace

/// Logarithm of the value above which the next one is a spike.
double SpikeSeries::limit() const {
  if (count_ < kLeast) return std::numeric_limits<double>::infinity();
  const std::span<const double> last(logs_.data(), std::min(count_, kKept));
  const double largest = *std::max_element(last.begin(), last.end()), by_factor = largest + std::log(kFactor);
  if (count_ < kKept) return by_factor;
  std::vector<double> values(last.begin(), last.end());
  const double middle = median(values);
  for (double& v : values) v = std::abs(v - middle);
  const double sigma = std::max(kLeastSigma, kConsistent * median(values));
  return std::min(by_factor, std::max(largest, middle + kSigmas * sigma));
}

double SpikeSeries::exceeded(double value) {
  const double log = std::log(std::max(value, kLeastValue)), most = limit();
  logs_[count_++ % kKept] = log;
  return log > most ? std::exp(most) : 0;
}

std::string Spikes::step(double loss, double grad_norm) {
  const double of_loss = loss_.exceeded(loss), of_norm = norm_.exceeded(grad_norm);
  const bool spike = of_loss > 0 || of_norm > 0, goes_on = since_ < kCalm;
  since_ = spike ? 0 : std::min(since_ + 1, kCalm);
  if (!spike || goes_on) return "";
  std::string text;
  if (of_loss > 0) text = spike_text("loss", loss, of_loss);
  if (of_norm > 0) text += (text.empty() ? "" : ", ") + spike_text("gradient norm", grad_norm, of_norm);
  return text;
}

}  // namespace fmtrain
