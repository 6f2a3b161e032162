#include "runtime/scaling/scaling.h"

#include <algorithm>
#include <map>
#include <optional>

#include "runtime/errors.h"

namespace fmtrain {
namespace {

Json definitions() {
  return {{"strong", "the same global batch for every number of ranks: the same computation, to the last bit"},
          {"weak",
           "a global batch of the config's times the ranks, so that every rank has the work that one rank has in the config"},
          {"efficiency",
           "E(n) = r(n) / r(m) * m / n; r: real tokens a second of all ranks, m: the smallest number of ranks that is not "
           "oversubscribed; quotients inside a repetition, then median, least and most"},
          {"oversubscribed",
           "ranks times threads on a host exceed its cores: ranks take turns, so this is no scaling and has no efficiency"},
          {"seconds",
           "an update on rank 0: compute (forward, backward), communication (only what was waited for or could not be hidden "
           "behind backward; waiting: the part of it without work, for other ranks had not come yet), data (waiting for the "
           "loader), optimizer, other"},
          {"product_share",
           "useful work (6 P + 12 L d s operations a token) a second over the rate of the model's matrix products alone, "
           "which the run measures on all its ranks at once"},
          {"slowest", "compute seconds of the slowest rank over the mean of the ranks, warm-up included"},
          {"bytes", "rss, peak_rss, pss: of the rank that has most; pss_sum: of all ranks; pss counts a shared page once"},
          {"serial_share", "(1/speedup - 1/n) / (1 - 1/n), Karp and Flatt 1990; over one rank"}};
}

/// All runs of a row, by repetition.
using ByRepetition = std::map<int, const MeasuredRun*>;

ByRepetition runs_of(const std::vector<MeasuredRun>& runs, int ranks, int64_t global) {
  ByRepetition found;
  for (const auto& run : runs)
    if (run.ranks == ranks && run.global == global) found[run.repetition] = &run;
  return found;
}

template <class Figure>
Spread over(const ByRepetition& runs, const Figure& figure) {
  std::vector<double> values;
  for (const auto& [repetition, run] : runs) values.push_back(figure(*run));
  return spread_of(std::move(values));
}

struct Base {
  int ranks = 1;
  ByRepetition runs;
};

int64_t global_of(const ScalingPlan& plan, const std::string& mode, int ranks) {
  return mode == "strong" ? plan.global : plan.global * ranks;
}

std::optional<Base> base_of(const ScalingPlan& plan, const std::vector<MeasuredRun>& runs, const std::string& mode) {
  for (const int ranks : plan.ranks) {
    auto found = runs_of(runs, ranks, global_of(plan, mode, ranks));
    if (!found.empty() && !oversubscribed(*found.begin()->second, plan.cores)) return Base{ranks, std::move(found)};
  }
  return {};
}

void add_efficiency(Json& row, const ByRepetition& found, const std::optional<Base>& base) {
  const bool counts = base && !row.at("oversubscribed").get<bool>();
  row["base"] = base ? Json(base->ranks) : Json();
  for (const char* name : {"efficiency", "speedup", "serial_share"}) row[name] = nullptr;
  if (!counts) return;
  const int ranks = row.at("ranks");
  std::vector<double> values;
  for (const auto& [repetition, run] : found)
    if (const auto other = base->runs.find(repetition); other != base->runs.end())
      values.push_back(efficiency(run->tokens_per_second(), ranks, other->second->tokens_per_second(), base->ranks));
  if (values.empty()) return;
  const Spread e = spread_of(std::move(values));
  const double factor = static_cast<double>(ranks) / base->ranks;
  row["efficiency"] = to_json(e);
  row["speedup"] = to_json(Spread{e.median * factor, e.least * factor, e.most * factor});
  if (row.at("mode") == "strong" && base->ranks == 1 && ranks > 1) row["serial_share"] = serial_share(e.median * factor, ranks);
}

double largest(const ByRepetition& runs, double MeasuredRun::*bytes) {
  double most = 0;
  for (const auto& [repetition, run] : runs) most = std::max(most, run->*bytes);
  return most;
}

Json measured_row(const std::string& mode, const ByRepetition& found, const ScalingPlan& plan) {
  const MeasuredRun& one = *found.begin()->second;
  Json row{{"mode", mode},           {"ranks", one.ranks},   {"hosts", one.hosts},
           {"threads", one.threads}, {"global", one.global}, {"oversubscribed", oversubscribed(one, plan.cores)}};
  row["samples_per_s"] = to_json(over(found, [](const MeasuredRun& r) { return r.samples_per_second(); }));
  row["tokens_per_s"] = to_json(over(found, [](const MeasuredRun& r) { return r.tokens_per_second(); }));
  row["step_s"] = to_json(over(found, [](const MeasuredRun& r) { return r.step_seconds(); }));
  row["product_share"] = to_json(over(found, [](const MeasuredRun& r) { return r.product_share; }));
  row["slowest"] = to_json(over(found, [](const MeasuredRun& r) { return r.slowest; }));
  for (size_t i = 0; i < kStepParts.size(); ++i)
    row["seconds"][kStepParts[i]] = to_json(over(found, [i](const MeasuredRun& r) { return r.parts[i]; }));
  row["bytes"] = {{"rss", largest(found, &MeasuredRun::rss)},
                  {"peak_rss", largest(found, &MeasuredRun::peak_rss)},
                  {"pss", largest(found, &MeasuredRun::pss)},
                  {"pss_sum", largest(found, &MeasuredRun::pss_sum)}};
  return row;
}

Json measured_rows(const ScalingPlan& plan, const std::vector<MeasuredRun>& runs) {
  Json rows = Json::array();
  for (const std::string mode : {"strong", "weak"}) {
    if (!(mode == "strong" ? plan.strong : plan.weak)) continue;
    const auto base = base_of(plan, runs, mode);
    for (const int ranks : plan.ranks) {
      const auto found = runs_of(runs, ranks, global_of(plan, mode, ranks));
      if (found.empty()) continue;
      Json row = measured_row(mode, found, plan);
      add_efficiency(row, found, base);
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

std::string run_name(const MeasuredRun& run) {
  return std::to_string(run.ranks) + " ranks, repetition " + std::to_string(run.repetition);
}

/// "" when both have the same bits.
std::string difference(const MeasuredRun& a, const MeasuredRun& b) {
  const std::string both = "global batch " + std::to_string(a.global) + ": " + run_name(a) + " and " + run_name(b);
  const size_t steps = std::min(a.losses.size(), b.losses.size());
  for (size_t i = 0; i < steps; ++i)
    if (a.losses[i] != b.losses[i])
      return both + " differ in the loss of update " + std::to_string(i + 1) + " (" + a.losses[i] + ", " + b.losses[i] + ")";
  if (a.losses.size() != b.losses.size()) return both + " made different numbers of updates";
  return a.weights == b.weights ? "" : both + " have equal losses and different weights";
}

Json run_json(const MeasuredRun& run) {
  return {{"ranks", run.ranks},           {"global", run.global},
          {"repetition", run.repetition}, {"tokens_per_s", run.tokens_per_second()},
          {"step_s", run.step_seconds()}, {"last_loss", run.losses.empty() ? "" : run.losses.back()},
          {"weights", run.weights}};
}

/// The largest micro batch with which every rank has a leaf.
int64_t micro_for(int64_t global, int ranks) {
  int64_t micro = std::max<int64_t>(1, global / ranks);
  while (global % micro != 0) --micro;
  return micro;
}

}  // namespace

std::vector<ScalingArm> arms_of(const ScalingPlan& plan) {
  std::vector<ScalingArm> arms;
  const auto add = [&](int ranks, int64_t global) {
    const bool known =
        std::any_of(arms.begin(), arms.end(), [&](const ScalingArm& a) { return a.ranks == ranks && a.global == global; });
    if (!known) arms.push_back({ranks, global});
  };
  for (const int ranks : plan.ranks) {
    if (plan.strong && ranks > plan.global / plan.micro)
      throw ConfigError(plan.config + ": batch.global / batch.micro = " + std::to_string(plan.global / plan.micro) +
                        " leaves are fewer than " + std::to_string(ranks) + " ranks; add --set batch.micro=" +
                        std::to_string(micro_for(plan.global, ranks)) + ", or leave strong scaling out with --weak");
    if (plan.strong) add(ranks, plan.global);
    if (plan.weak) add(ranks, plan.global * ranks);
  }
  return arms;
}

bool oversubscribed(const MeasuredRun& run, int cores) {
  const int on_host = (run.ranks + run.hosts - 1) / std::max(1, run.hosts);
  return run.device == "cpu" && on_host * run.threads > cores;
}

double efficiency(double rate, int ranks, double base_rate, int base_ranks) { return rate / base_rate * base_ranks / ranks; }

double serial_share(double speedup, int ranks) { return (1 / speedup - 1.0 / ranks) / (1 - 1.0 / ranks); }

std::vector<std::string> differences(const std::vector<MeasuredRun>& runs) {
  std::vector<std::string> found;
  std::map<int64_t, const MeasuredRun*> first;
  for (const auto& run : runs) {
    const auto [at, is_new] = first.emplace(run.global, &run);
    if (is_new) continue;
    if (auto text = difference(*at->second, run); !text.empty()) found.push_back(std::move(text));
  }
  return found;
}

Json scaling_json(const ScalingPlan& plan, const std::vector<MeasuredRun>& runs, const Json& machine) {
  const auto different = differences(runs);
  Json all{{"version", 1}, {"kind", "fmtrain scaling"}};
  all["plan"] = {{"config", plan.config},     {"computation", plan.computation},
                 {"ranks", plan.ranks},       {"global", plan.global},
                 {"micro", plan.micro},       {"steps", plan.steps},
                 {"warmup", plan.warmup},     {"repetitions", plan.repetitions},
                 {"launcher", plan.launcher}, {"overrides", plan.overrides}};
  all["machine"] = machine;
  all["machine"]["cores"] = plan.cores;
  all["definitions"] = definitions();
  all["equal"] = different.empty();
  all["differences"] = different;
  all["rows"] = measured_rows(plan, runs);
  all["runs"] = Json::array();
  for (const auto& run : runs) all["runs"].push_back(run_json(run));
  return all;
}

}  // namespace fmtrain
