#include "runtime/continual/drift_report.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "runtime/continual/corrections.h"
#include "runtime/continual/ks.h"
#include "runtime/continual/pca.h"
#include "runtime/errors.h"
#include "runtime/percentile.h"

namespace fmtrain {
namespace {

constexpr uint64_t kOtherSeed = 0x9E3779B97F4A7C15;  ///< splits of the reference are drawn apart from the permutations

void require_input(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

/// A number that is none would break the order that every sort and every rank rests on.
template <class Numbers>
void require_finite(const Numbers& numbers, const std::string& what) {
  const auto bad = std::find_if_not(numbers.begin(), numbers.end(), [](double x) { return std::isfinite(x); });
  if (bad != numbers.end())
    throw NumericError(what + " hold a number that is not finite (place " + std::to_string(bad - numbers.begin()) +
                       "): check the input and the model that made them");
}

void require_usable(const DriftSample& sample, const std::string& name) {
  const auto examples = static_cast<size_t>(sample.examples());
  require_input(sample.features.size() == examples * static_cast<size_t>(sample.dims), "features are not whole examples");
  if (sample.probabilities.classes) {
    require_input(sample.probabilities.values.size() == examples * static_cast<size_t>(sample.probabilities.classes),
                  "probabilities and features are of different examples");
    if (!sample.labels.empty()) require_labels(sample.probabilities, sample.labels);
  }
  for (const auto& one : sample.quantities)
    require_input(one.values.size() == examples, "a quantity and the features are of different examples");
  require_finite(sample.features, "features of the " + name);
  require_finite(sample.probabilities.values, "probabilities of the " + name);
  for (const auto& one : sample.quantities) require_finite(one.values, quoted(one.name) + " of the " + name);
}

/// The smallest p is 1 / (permutations + 1): with fewer of them no window could ever drift.
void require_an_alarm_possible(const DriftOptions& options) {
  if (1.0 / static_cast<double>(options.permutations + 1) > options.alpha)
    throw ConfigError("drift: " + std::to_string(options.permutations) + " permutations give no p of " +
                      std::to_string(options.alpha) + " or less, so no drift is ever found: take 1 / alpha - 1 or more");
}

/// `pool`: of the reference and the window.
double severity(const PairDistances& pool, int64_t reference, const MmdTest& test, const DriftOptions& options,
                const Ranks& ranks) {
  const int64_t part = std::min(pool.points() - reference, reference / 2);
  auto usual = mmd2_of_splits(pool, reference, part, options.splits, test.sigma, options.seed ^ kOtherSeed, ranks);
  std::sort(usual.begin(), usual.end());
  const double limit = percentile(usual, 0.95);
  return limit > 0 ? std::max(0.0, test.mmd2 / limit) : 0;
}

/// The axes are the reference's alone: with the window in them, the shift would turn the axes it is measured on.
std::vector<double> ks_of_components(const DriftSample& reference, const DriftSample& window, int64_t components) {
  const Pca pca = fit_pca(reference.features, reference.dims, components);
  const auto x = project(pca, reference.features), y = project(pca, window.features);
  const size_t m = x.size() / static_cast<size_t>(pca.components), n = y.size() / static_cast<size_t>(pca.components);
  std::vector<double> p;
  for (size_t c = 0; c < static_cast<size_t>(pca.components); ++c)
    p.push_back(ks_test(std::span(x).subspan(c * m, m), std::span(y).subspan(c * n, n)).p);
  return holm(p);
}

std::vector<int64_t> class_counts(std::span<const int32_t> labels, int64_t classes) {
  std::vector<int64_t> counts(static_cast<size_t>(classes), 0);
  for (const int32_t label : labels) ++counts.at(static_cast<size_t>(label));
  return counts;
}

DriftReport::Classes classes_of(std::span<const int32_t> a, std::span<const int32_t> b, int64_t classes) {
  const auto x = class_counts(a, classes), y = class_counts(b, classes);
  return {chi_square_test(x, y), js_divergence(x, y)};
}

/// Temperature and threshold come from the labelled reference, so that its own estimate is its accuracy.
DriftReport::Performance performance(const DriftSample& reference, const DriftSample& window) {
  DriftReport::Performance result;
  result.temperature = fit_temperature(reference.probabilities, reference.labels);
  const auto old_values = scaled(reference.probabilities, result.temperature),
             new_values = scaled(window.probabilities, result.temperature);
  const Probabilities before{old_values, reference.probabilities.classes}, now{new_values, window.probabilities.classes};
  const auto predicted = predictions(before);
  std::vector<bool> correct;
  for (size_t i = 0; i < predicted.size(); ++i) correct.push_back(predicted[i] == reference.labels[i]);
  const auto right = static_cast<double>(std::count(correct.begin(), correct.end(), true));
  result.measured = share_of(right / static_cast<double>(correct.size()), before.examples());
  result.cbpe = cbpe_accuracy(now);
  result.cbpe_macro_f1 = cbpe_macro_f1(now);
  result.atc = atc_accuracy(confidences(now), atc_threshold(confidences(before), correct));
  return result;
}

void explain_classes(const DriftSample& reference, const DriftSample& window, DriftReport& report) {
  const int64_t classes = reference.probabilities.classes;
  if (!classes || !window.probabilities.classes) return;
  require_input(classes == window.probabilities.classes, "reference and window have different classes");
  report.predicted = classes_of(predictions(reference.probabilities), predictions(window.probabilities), classes);
  if (reference.labels.empty()) return;
  report.performance = performance(reference, window);
  if (!window.labels.empty()) report.labelled = classes_of(reference.labels, window.labels, classes);
}

/// A quantity that only one sample has says nothing.
void explain_quantities(const DriftSample& reference, const DriftSample& window, DriftReport& report) {
  for (const auto& one : reference.quantities)
    for (const auto& other : window.quantities)
      if (one.name == other.name) report.psi.emplace_back(one.name, psi(one.values, other.values));
}

}  // namespace

bool DriftReport::dropped() const {
  return performance && performance_dropped(performance->measured, performance->cbpe) &&
         performance_dropped(performance->measured, performance->atc);
}

DriftReport check_drift(const DriftSample& reference, const DriftSample& window, const DriftOptions& options,
                        const Ranks& ranks) {
  require_an_alarm_possible(options);
  DriftReport report;
  report.reference = reference.examples();
  report.window = window.examples();
  report.alpha = options.alpha;
  report.enough = report.window >= options.least_window;
  if (!report.enough) return report;
  require_input(reference.dims == window.dims, "reference and window have features of different length");
  require_input(report.reference >= options.least_window, "the reference is smaller than a window may be");
  require_usable(reference, "reference");
  require_usable(window, "window");
  const PairDistances pool = pool_of(reference.features, window.features, reference.dims, ranks);
  report.mmd = mmd_test(pool, report.reference, options.permutations, options.seed, ranks);
  report.severity = severity(pool, report.reference, report.mmd, options, ranks);
  report.ks_p = ks_of_components(reference, window, options.components);
  explain_classes(reference, window, report);
  explain_quantities(reference, window, report);
  return report;
}

}  // namespace fmtrain
