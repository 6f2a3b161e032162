// By how much is the challenger better than the champion, on the same examples, and how sure is that?
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace fmtrain {

/// What every example adds to the integer sums a metric is made of, for both models. Accuracy: {correct, 1}. F1 of entities or
/// of a class: {correct, predicted, truth}. Integers only, so ranks can count apart and add.
struct PairedCounts {
  int64_t width = 0;
  std::vector<int64_t> champion, challenger;  ///< [n, width]
  std::vector<int32_t> strata;                ///< [n], any numbers, e.g. the gold class; empty: one stratum
  int64_t examples() const { return width ? static_cast<int64_t>(champion.size()) / width : 0; }
  /// Those of `ids`, as for a slice. std::invalid_argument where an id is none, or the lengths do not fit.
  PairedCounts of(std::span<const int64_t> ids) const;
};

/// A metric of sums over examples [width]; accuracy and F1 are 0 where nothing is counted.
using Metric = std::function<double(std::span<const int64_t> sums)>;
double accuracy_of_sums(std::span<const int64_t> sums);  ///< {correct, examples}
double f1_of_sums(std::span<const int64_t> sums);        ///< {correct, predicted, truth}

/// Challenger minus champion, as a fraction.
struct PairedDifference {
  int64_t examples = 0;
  double champion = 0, challenger = 0;  ///< the metric of each
  double difference = 0;
  std::vector<double> resampled;  ///< differences of the resamples, ascending

  double lcb95() const;  ///< one-sided 95 % bounds: the 5 % and 95 % points of the resamples
  double ucb95() const;
  double deviation() const;  ///< standard deviation of the resamples
  /// One-sided p of "the difference is at least x": (1 + resamples >= x) / (resamples + 1).
  double p_at_least(double x) const;
};

/// Percentile bootstrap, paired and stratified: each resample draws as many examples from a stratum as it has, with
/// replacement. Strata of fewer than 20 examples are pooled into one: a stratum of n has (n - 1) / n of the variance when it is
/// drawn from itself, and with many classes of few examples the bounds would be too near.
///
/// Examples with the same counts in the same stratum are alike, so a resample is drawn as how often each kind occurs: a
/// multinomial, by one binomial draw a kind. The distribution is that of drawing every example, in 1/20 of the time for
/// accuracy. The draws are a function of (seed, resample, kind), and kinds are ordered by what they are: neither the order of
/// examples nor the number of ranks matters. Without examples everything is 0.
/// std::invalid_argument where champion, challenger and strata are not of the same examples.
PairedDifference paired_bootstrap(const PairedCounts& counts, const Metric& metric, int64_t resamples, uint64_t seed);

}  // namespace fmtrain
