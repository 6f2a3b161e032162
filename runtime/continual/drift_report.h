// The drift report of `fmtrain continual check`: one decision, what explains it, and what it may cost.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/continual/calibration.h"
#include "runtime/continual/class_drift.h"
#include "runtime/continual/mmd.h"
#include "runtime/continual/performance_estimate.h"
#include "runtime/continual/psi.h"
#include "runtime/continual/ranks.h"
#include "runtime/json.h"

namespace fmtrain {

/// One number per example, for PSI: "length", "unknown", "intensity".
struct Quantity {
  std::string name;
  std::vector<double> values;
};

/// What is known of a sample of n examples. What is empty is not tested.
struct DriftSample {
  std::span<const float> features;  ///< [n, dims]: pooled encoder output of the champion
  int64_t dims = 0;
  Probabilities probabilities;      ///< [n, classes], the champion's
  std::span<const int32_t> labels;  ///< [n]; needed of the reference for estimates of accuracy
  std::vector<Quantity> quantities;
  int64_t examples() const { return dims ? static_cast<int64_t>(features.size()) / dims : 0; }
};

struct DriftOptions {
  double alpha = 0.01;  ///< of the decision; 0.05 would raise a false alarm in 93 % of years of weekly windows, 0.01 in 41 %
  int64_t permutations = 500;  ///< smallest p 1 / 501; at least 1 / alpha - 1, or nothing could be found
  int64_t least_window = 500;  ///< fewer examples: insufficient data
  int64_t components = 32;     ///< of PCA, for KS
  int64_t splits = 100;        ///< of the reference, for severity
  uint64_t seed = 1;
};

struct DriftReport {
  int64_t reference = 0, window = 0;  ///< examples
  bool enough = false;                ///< false: nothing below was computed
  double alpha = 0;
  MmdTest mmd;
  /// MMD^2 over the 95th percentile of that of random splits of the reference into as many rows as the window has (at most
  /// half) and the others; above 1: unusual.
  double severity = 0;
  std::vector<double> ks_p;  ///< per principal component, after Holm
  struct Classes {
    ChiSquareTest chi_square;
    double js = 0;
  };
  std::optional<Classes> predicted, labelled;
  std::vector<std::pair<std::string, Psi>> psi;
  struct Performance {
    Estimate measured, cbpe, atc;  ///< on the labelled reference; on the window without its labels
    double temperature = 1;
    double cbpe_macro_f1 = 0;
  };
  std::optional<Performance> performance;

  bool drifted() const { return enough && mmd.p <= alpha; }  ///< this window alone
  /// Both estimates agree: one alone moves with calibration.
  bool dropped() const;
};

/// Every rank calls with the same data and gets the same report. Quantities are paired by name. Broken invariants (other dims
/// or classes, labels outside them, parts of a sample of different length, a reference smaller than a window may be) throw
/// std::invalid_argument. ConfigError where permutations are too few for alpha. NumericError where features, probabilities or
/// quantities hold a number that is not finite.
DriftReport check_drift(const DriftSample& reference, const DriftSample& window, const DriftOptions& options,
                        const Ranks& ranks = {});

/// A report, and what the labels of the window tell.
struct DriftFacts {
  DriftReport report;
  Estimate accuracy;  ///< of the window, by its labels (observe.h: of the text's class); standard_error 0 where it has none
};

enum class DriftVerdict { kNone, kSuspected, kDrift, kInsufficientData };

/// Alarm (kDrift) only when this window and the one before drifted: one in 10,000 pairs without drift, instead of one in 100.
DriftVerdict drift_verdict(const DriftReport& now, bool previous_drifted);
/// 10 drift, 11 insufficient data, else 0.
int exit_code(DriftVerdict verdict);

/// {"version": 1, "verdict", "window", "reference", "alpha", "mmd": {...}, "severity", "ks", "predicted", "labels", "psi",
/// "performance"}; members that were not computed are missing.
Json drift_json(const DriftReport& report, DriftVerdict verdict);
/// The same for people: a line a test.
std::string drift_text(const DriftReport& report, DriftVerdict verdict);

}  // namespace fmtrain
