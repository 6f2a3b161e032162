#include "runtime/continual/gate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "runtime/continual/corrections.h"

namespace fmtrain {
namespace {

constexpr double kZ95 = 1.6448536269514722, kZ80 = 0.8416212335729143;  ///< quantiles of the normal distribution

std::string points(double fraction) {
  char text[32];
  std::snprintf(text, sizeof text, "%+.2f points", 100 * fraction);
  return text;
}

GateResult::Set compared(const PairedCounts& counts, const GateInputs& inputs, const GateOptions& options, int64_t least) {
  GateResult::Set set{paired_bootstrap(counts, inputs.metric, options.resamples, options.seed)};
  set.judged = set.difference.examples >= least;
  return set;
}

/// Standard deviation of what one example adds.
double per_example(const PairedDifference& d) { return d.deviation() * std::sqrt(static_cast<double>(d.examples)); }

/// McNemar's test is about accuracy; of any other metric it would say something else than the gate.
bool is_accuracy(const Metric& metric) {
  using Function = double (*)(std::span<const int64_t>);
  const auto* function = metric.target<Function>();
  return function && *function == &accuracy_of_sums;
}

/// Of accuracy counts: {correct, 1}.
McNemar mcnemar_of(const PairedCounts& counts) {
  int64_t b = 0, c = 0;
  for (size_t i = 0; i < counts.champion.size(); i += static_cast<size_t>(counts.width)) {
    b += counts.champion[i] > counts.challenger[i];
    c += counts.champion[i] < counts.challenger[i];
  }
  return mcnemar(b, c);
}

/// Slices too small to judge take no part in Holm's correction: they would cost the others power.
void compare_slices(const GateInputs& inputs, const GateOptions& options, GateResult& result) {
  std::vector<double> p;
  for (const auto& [name, counts] : inputs.slices) {
    const auto& set = result.slices.emplace_back(name, compared(counts, inputs, options, options.least_slice)).second;
    if (set.judged) p.push_back(set.difference.p_at_least(-options.margin));
  }
  const auto adjusted = holm(p);
  size_t at = 0;
  for (auto& [name, set] : result.slices)
    if (set.judged) set.adjusted_p = adjusted[at++];
}

/// Reasons that are certain enough to reject.
std::vector<std::string> failures(const GateInputs& inputs, const GateOptions& options, const GateResult& r) {
  std::vector<std::string> found;
  if (inputs.leaked) found.push_back(std::to_string(inputs.leaked) + " test examples are in the training data");
  if (r.rolling.judged && r.rolling.difference.ucb95() < 0)
    found.push_back("worse on the rolling set: at most " + points(r.rolling.difference.ucb95()));
  if (r.core.judged && r.core.difference.ucb95() < -options.margin)
    found.push_back("worse on the core set: at most " + points(r.core.difference.ucb95()));
  for (const auto& [name, set] : r.slices)
    if (set.judged && set.adjusted_p <= options.alpha)
      found.push_back("worse on slice " + name + ": " + points(set.difference.difference));
  return found;
}

std::string too_few(const char* name, const GateResult::Set& set, const GateOptions& options) {
  return std::string("the ") + name + " set has " + std::to_string(set.difference.examples) + " examples; at least " +
         std::to_string(options.least_set) + " are needed";
}

/// What a promotion lacks.
std::vector<std::string> doubts(const GateInputs& inputs, const GateOptions& options, const GateResult& r) {
  std::vector<std::string> found;
  if (!r.rolling.judged) found.push_back(too_few("rolling", r.rolling, options));
  else if (r.rolling.difference.lcb95() <= 0)
    found.push_back("not surely better on the rolling set: at least " + points(r.rolling.difference.lcb95()));
  if (!r.core.judged) found.push_back(too_few("core", r.core, options));
  else if (r.core.difference.lcb95() <= -options.margin)
    found.push_back("perhaps worse on the core set: at least " + points(r.core.difference.lcb95()));
  if (inputs.core.examples() >= options.least_calibration && inputs.challenger_ece > inputs.champion_ece + options.ece_slack)
    found.push_back("probabilities are less true than the champion's");
  if (inputs.forgetting > options.forgetting)
    found.push_back("on earlier test sets " + points(-inputs.forgetting));
  if (!inputs.within_budget) found.emplace_back("latency or size is over budget");
  return found;
}

/// Further examples until LCB95 exceeds `limit` with a chance of 80 %, if the true difference is the observed one, but at least
/// `least`; 0 where it does already. Of a set too small to judge only what it lacks: it says nothing of the difference.
int64_t further_examples(const GateResult::Set& set, double limit, double least, const GateOptions& options) {
  const auto& d = set.difference;
  if (!set.judged) return options.least_set - d.examples;
  if (d.lcb95() > limit) return 0;
  return std::max<int64_t>(0, examples_needed(std::max(d.difference, least), limit, per_example(d)) - d.examples);
}

Json set_json(const GateResult::Set& set) {
  const auto& d = set.difference;
  return {{"examples", d.examples},     {"champion", d.champion}, {"challenger", d.challenger},
          {"difference", d.difference}, {"lcb95", d.lcb95()},     {"ucb95", d.ucb95()}};
}

}  // namespace

const char* gate_verdict_name(GateVerdict verdict) {
  return verdict == GateVerdict::kPromote ? "promote" : verdict == GateVerdict::kReject ? "reject" : "inconclusive";
}

int64_t examples_needed(double difference, double limit, double deviation) {
  return static_cast<int64_t>(std::ceil(std::pow((kZ95 + kZ80) * deviation / (difference - limit), 2)));
}

GateResult judge(const GateInputs& inputs, const GateOptions& options) {
  GateResult result;
  result.rolling = compared(inputs.rolling, inputs, options, options.least_set);
  result.core = compared(inputs.core, inputs, options, options.least_set);
  compare_slices(inputs, options, result);
  if (is_accuracy(inputs.metric)) result.mcnemar = mcnemar_of(inputs.rolling);
  result.reasons = failures(inputs, options, result);
  if (!result.reasons.empty()) {
    result.verdict = GateVerdict::kReject;
    return result;
  }
  result.reasons = doubts(inputs, options, result);
  result.verdict = result.reasons.empty() ? GateVerdict::kPromote : GateVerdict::kInconclusive;
  if (result.verdict == GateVerdict::kInconclusive)
    result.labels_needed = std::max(further_examples(result.rolling, 0, options.least_gain, options),
                                    further_examples(result.core, -options.margin, 0, options));
  return result;
}

Json gate_json(const GateInputs& inputs, const GateResult& r) {
  Json slices = Json::object();
  for (const auto& [name, set] : r.slices) {
    slices[name] = set_json(set);
    slices[name]["judged"] = set.judged;
    slices[name]["adjusted_p"] = set.adjusted_p;
  }
  Json json{{"version", 1},
            {"verdict", gate_verdict_name(r.verdict)},
            {"reasons", r.reasons},
            {"rolling", set_json(r.rolling)},
            {"core", set_json(r.core)},
            {"slices", slices},
            {"labels_needed", r.labels_needed},
            {"ece", {{"champion", inputs.champion_ece}, {"challenger", inputs.challenger_ece}}},
            {"forgetting", inputs.forgetting},
            {"within_budget", inputs.within_budget},
            {"leaked", inputs.leaked}};
  if (r.mcnemar)
    json["mcnemar"] = {{"champion_only", r.mcnemar->b},
                       {"challenger_only", r.mcnemar->c},
                       {"exact_p", r.mcnemar->exact_p},
                       {"chi2", r.mcnemar->chi2},
                       {"p", r.mcnemar->p},
                       {"corrected_chi2", r.mcnemar->corrected_chi2},
                       {"corrected_p", r.mcnemar->corrected_p}};
  return json;
}

}  // namespace fmtrain
