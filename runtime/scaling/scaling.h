// Strong and weak scaling from runs at several numbers of ranks: which runs are needed, and what they say.
//
// A repetition runs every arm once, so that all see the same minutes of a shared machine; figures are compared inside a
// repetition.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/json.h"
#include "runtime/scaling/spread.h"
#include "runtime/scaling/measured_run.h"

namespace fmtrain {

struct ScalingPlan {
  std::string config;       ///< as named on the command line
  std::string computation;  ///< hash of all that fixes the bits, but the batch and the number of updates
  std::vector<int> ranks;   ///< ascending
  bool strong = true, weak = true;
  int64_t global = 0, micro = 0;  ///< samples: the config's
  int64_t steps = 0, warmup = 0;  ///< updates of a run, and how many at its begin are left out
  int repetitions = 3;
  std::string launcher;
  int cores = 1;  ///< that this machine gives the program
  std::vector<std::string> overrides;
};

/// Runs of one number of ranks and one global batch. One rank of weak scaling is one rank of strong scaling: a single arm.
struct ScalingArm {
  int ranks = 1;
  int64_t global = 0;
};

/// In the order of a repetition. Throws ConfigError when ranks of strong scaling would have no leaf.
std::vector<ScalingArm> arms_of(const ScalingPlan& plan);

/// More ranks x threads on a host than it has cores: the ranks take turns, and their speed says nothing of scaling. On GPUs
/// never.
bool oversubscribed(const MeasuredRun& run, int cores);

/// E(n) = r(n) / r(m) * m / n, of real tokens a second r and the smallest number of ranks m that is not oversubscribed.
double efficiency(double rate, int ranks, double base_rate, int base_ranks);

/// The share of the work that is not shared out, if it alone explains a speedup over one rank: (1/speedup - 1/n) / (1 - 1/n)
/// (Karp and Flatt, "Measuring parallel processor performance", CACM 33(5), 1990). n > 1.
double serial_share(double speedup, int ranks);

/// Where two runs of one global batch differ in a loss or in the weights, a line each; empty: all bits are equal.
std::vector<std::string> differences(const std::vector<MeasuredRun>& runs);

/// scaling.json, version 1:
///   {"version": 1, "kind": "fmtrain scaling",
///    "plan": {"config", "computation", "ranks", "global", "micro", "steps", "warmup", "repetitions", "launcher", "overrides"},
///    "machine": {"cores", ...},  facts of `machine` beside the cores
///    "definitions": {name: text},
///    "equal": true, "differences": [text],     of runs of one global batch
///    "rows": [{"mode": "strong" or "weak", "ranks", "hosts", "threads", "global", "oversubscribed", "base": ranks of E's base
///    or null,
///              "samples_per_s", "tokens_per_s", "step_s", "product_share", "slowest",     {"median", "min", "max"} each
///              "efficiency", "speedup": the same, null where oversubscribed, "serial_share": of the median, or null,
///              "seconds": {compute, communication, data, optimizer, other, waiting: the same, an update},
///              "bytes": {"rss", "peak_rss", "pss", "pss_sum"}}],     largest of the repetitions
///    "runs": [{"ranks", "global", "repetition", "tokens_per_s", "step_s", "last_loss": hex, "weights"}]}
Json scaling_json(const ScalingPlan& plan, const std::vector<MeasuredRun>& runs, const Json& machine);

/// scaling.json as Markdown and as a page of HTML. Pure functions; a part that is missing takes its rows with it.
std::string scaling_text(const Json& scaling);
std::string scaling_page(const Json& scaling);
/// The efficiency of both modes as a picture that stands by itself; "" when there is none.
std::string scaling_picture(const Json& scaling);

}  // namespace fmtrain
