// How good is the model on examples without labels? Both estimates are blind to a change of P(label | input): a trickle of
// labels stays necessary (200 of them give +-4.2 points at 90 % accuracy).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/continual/calibration.h"

namespace fmtrain {

/// A share of n examples. standard_error: sqrt(value (1 - value) / n), which holds the spread of the probabilities as well as
/// that of the labels: E[p(1-p)] + Var p = E p (1 - E p). 0.0095 at 0.9 and n = 1,000.
struct Estimate {
  double value = 0, standard_error = 0;
};
Estimate share_of(double value, int64_t n);

/// Confidence-based estimate of accuracy: mean top probability, of calibrated probabilities.
Estimate cbpe_accuracy(const Probabilities& calibrated);

/// What a confusion matrix is expected to count for a class. F1 = 2 correct / (predicted + truth).
struct ExpectedCounts {
  double correct = 0, predicted = 0, truth = 0;
  double f1() const { return predicted + truth > 0 ? 2 * correct / (predicted + truth) : 0; }
};
std::vector<ExpectedCounts> expected_counts(const Probabilities& calibrated);
double cbpe_macro_f1(const Probabilities& calibrated);  ///< mean F1 over all classes

/// Average thresholded confidence (Garg et al., "Leveraging unlabeled data to predict out-of-distribution performance", ICLR
/// 2022): t such that the share of labelled scores below t is their error rate; equal scores can make it smaller.
double atc_threshold(std::span<const double> scores, const std::vector<bool>& correct);
/// Share of scores of at least t.
Estimate atc_accuracy(std::span<const double> scores, double threshold);

/// The trigger: the estimate lies more than 0.02 and more than 2 standard errors (of the difference) below the measured
/// accuracy.
bool performance_dropped(const Estimate& measured, const Estimate& estimated);

}  // namespace fmtrain
