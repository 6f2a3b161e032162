// May the challenger replace the champion? A third answer is possible: that the labels do not suffice to tell.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/continual/mcnemar.h"
#include "runtime/continual/paired_bootstrap.h"
#include "runtime/json.h"

namespace fmtrain {

enum class GateVerdict { kPromote, kReject, kInconclusive };
const char* gate_verdict_name(GateVerdict verdict);  ///< promote, reject, inconclusive

/// Both models on the same examples, of which none was trained on.
struct GateInputs {
  PairedCounts rolling;  ///< the newest labelled window: here the challenger must be better
  PairedCounts core;     ///< the frozen test set: here it must not be worse by more than the margin
  std::vector<std::pair<std::string, PairedCounts>> slices;
  Metric metric = accuracy_of_sums;
  double champion_ece = 0, challenger_ece = 0;  ///< expected calibration error, on the core set
  double forgetting = 0;                        ///< mean loss on the test sets of earlier cycles, a fraction
  bool within_budget = true;                    ///< latency and size
  int64_t leaked = 0;                           ///< test examples found in training or replay data: any is fatal
};

struct GateOptions {
  double margin = 0.01;       ///< of core and slices
  int64_t least_slice = 300;  ///< smaller slices are shown, not judged
  int64_t least_set = 300;    ///< of rolling and core: with fewer the bootstrap's bounds mean nothing (n = 1: always certain)
  double ece_slack = 0.01;
  int64_t least_calibration = 1000;  ///< of core: with fewer, the error of a perfect model alone (0.05 at 200) is above the slack
  double forgetting = 0.01;
  double alpha = 0.05;  ///< of the slices together, after Holm
  int64_t resamples = 10000;
  uint64_t seed = 1;
  double least_gain = 0.01;  ///< a gain below this is not worth labels: labels_needed assumes at least this
};

struct GateResult {
  GateVerdict verdict = GateVerdict::kInconclusive;
  std::vector<std::string> reasons;  ///< a plain line each; of a promotion: none
  struct Set {
    PairedDifference difference;
    bool judged = true;     ///< has as many examples as it needs
    double adjusted_p = 1;  ///< of a slice: that its difference is at least -margin, after Holm
  };
  Set rolling, core;
  std::vector<std::pair<std::string, Set>> slices;
  std::optional<McNemar> mcnemar;  ///< on the rolling set, where the metric is accuracy
  int64_t labels_needed = 0;       ///< further ones, of the set in doubt that needs most; 0: more would not help
};

/// promote: LCB95 > 0 on rolling, LCB95 > -margin on core, no slice significantly below -margin, ECE at most the champion's
/// plus its slack (where core is large enough), forgetting and budget kept, nothing leaked. reject: UCB95 < 0 on rolling, or UCB95 < -margin on core, or a
/// slice significantly below -margin, or something leaked. inconclusive: the rest; the champion stays. A rolling or core set
/// below least_set neither promotes nor rejects.
GateResult judge(const GateInputs& inputs, const GateOptions& options = {});

/// Examples for an 80 % chance that LCB95 exceeds `limit`, if the true difference is `difference` and one example's has the
/// standard deviation `deviation`: ((z_.95 + z_.80) deviation / (difference - limit))^2. difference > limit.
int64_t examples_needed(double difference, double limit, double deviation);

/// {"version": 1, "verdict", "reasons", "rolling", "core", "slices", "mcnemar", "labels_needed", "ece", "forgetting",
/// "within_budget", "leaked"}; fractions.
Json gate_json(const GateInputs& inputs, const GateResult& result);

}  // namespace fmtrain
