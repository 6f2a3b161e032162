#include "runtime/scaling/simulation.h"

#include <algorithm>
#include <optional>

#include "runtime/report/html.h"

namespace fmtrain {
namespace {

constexpr int64_t kMostLeaves = 1024;

Scenario scenario_of(const Simulation& s, int ranks, int stage, int64_t leaves) {
  return {ranks, stage, leaves, s.algorithm, s.network, 0, s.by_node};
}

double largest_bucket(const Timeline& t) {
  double most = 0;
  for (const Bucket& bucket : t.buckets) most = std::max(most, bucket.bytes);
  return most;
}

double state_of(const Timeline& t, const Simulation& s, int stage, int ranks) {
  return state_bytes(stage, t.parameters, t.parameter_bytes, scenario_of(s, ranks, stage, 1).sharers(), largest_bucket(t));
}

bool fits(const Timeline& t, const Simulation& s, int stage, int ranks) {
  return s.memory <= 0 || state_of(t, s, stage, ranks) <= s.memory;
}

Json step_json(const PredictedStep& step, double efficiency, double samples) {
  return {{"step_s", step.total()},
          {"exposed_s", step.exposed},
          {"hidden_s", step.hidden},
          {"optimizer_s", step.optimizer},
          {"straggling_s", step.straggling},
          {"efficiency", efficiency},
          {"samples_per_s", samples / step.total()}};
}

void add_failures(Json& row, const Simulation& s, int ranks) {
  row["goodput"] = row["checkpoint_interval_s"] = nullptr;
  if (s.part_mean_time <= 0) return;
  const Failures failures{job_mean_time(s.part_mean_time, ranks), s.checkpoint, s.restart};
  const double interval = daly_interval(failures);
  row["goodput"] = goodput(failures, interval);
  row["checkpoint_interval_s"] = interval;
}

Json simulated_row(const Timeline& t, const Simulation& s, int ranks, int stage) {
  Json row{{"ranks", ranks}, {"stage", stage}, {"leaves", nullptr}, {"strong", nullptr}};
  if (ranks <= t.leaves) {
    const auto scenario = scenario_of(s, ranks, stage, leaves_of_rank(t, ranks));
    row["leaves"] = scenario.leaves;
    row["strong"] = step_json(predict(t, scenario), strong_efficiency(t, scenario), t.samples);
  }
  const auto weak = scenario_of(s, ranks, stage, t.leaves);
  row["weak"] = step_json(predict(t, weak), weak_efficiency(t, weak), t.samples * ranks);
  row["between_bytes"] = between_bytes(t, weak);
  row["state_bytes"] = state_of(t, s, stage, ranks);
  row["fits"] = fits(t, s, stage, ranks);
  add_failures(row, s, ranks);
  return row;
}

/// Of equal numbers of ranks the more efficient stage.
Json largest_useful(const Json& rows, const char* mode, double useful) {
  Json best;
  double reached = 0;
  for (const Json& row : rows) {
    if (row.at("fits") != true || !row.at(mode).is_object()) continue;
    const double efficiency = row.at(mode).at("efficiency");
    if (efficiency < useful) continue;
    const bool better =
        best.is_null() || row.at("ranks") > best.at("ranks") || (row.at("ranks") == best.at("ranks") && efficiency > reached);
    if (!better) continue;
    best = {{"ranks", row.at("ranks")}, {"stage", row.at("stage")}};
    reached = efficiency;
  }
  return best;
}

/// The fastest stage that fits, the lowest of equals.
std::optional<int> best_stage(const Timeline& t, const Simulation& s, int ranks) {
  std::optional<int> best;
  double least = 0;
  for (const int stage : s.stages) {
    if (!fits(t, s, stage, ranks)) continue;
    const double seconds = predict(t, scenario_of(s, ranks, stage, t.leaves)).total();
    if (!best || seconds < least) best = stage, least = seconds;
  }
  return best;
}

double best_bucket(const Timeline& t, const Simulation& s, int ranks, int stage) {
  double best = 0, least = 0;
  for (double bytes = 1 << 20; bytes <= 1 << 30; bytes *= 2) {
    const double seconds = predict(with_buckets(t, bytes), scenario_of(s, ranks, stage, t.leaves)).total();
    if (best == 0 || seconds < least) best = bytes, least = seconds;
  }
  return best;
}

Json fewest_leaves(const Timeline& t, const Simulation& s, int ranks, int stage) {
  for (int64_t leaves = 1; leaves <= kMostLeaves; leaves *= 2)
    if (weak_efficiency(t, scenario_of(s, ranks, stage, leaves)) >= s.useful) return leaves;
  return {};
}

Json advice_of(const Timeline& t, const Simulation& s, const Json& rows) {
  Json advice{{"useful", s.useful}};
  for (const char* mode : {"strong", "weak"}) advice["largest_useful"][mode] = largest_useful(rows, mode, s.useful);
  advice["buckets"] = Json::array();
  for (const int ranks : s.ranks) {
    const auto stage = best_stage(t, s, ranks);
    if (!stage || ranks == 1) continue;
    advice["buckets"].push_back({{"ranks", ranks},
                                 {"stage", *stage},
                                 {"bytes", best_bucket(t, s, ranks, *stage)},
                                 {"leaves", fewest_leaves(t, s, ranks, *stage)}});
  }
  return advice;
}

}  // namespace

Json simulate(const Timeline& t, const Simulation& s) {
  Json all{{"version", 1}, {"kind", "fmtrain simulation"}, {"timeline", to_json(t)}, {"algorithm", name_of(s.algorithm)}};
  const auto link = [](const Link& l) { return Json{{"latency_s", l.alpha}, {"bytes_per_s", l.rate}}; };
  all["network"] = {{"inside", link(s.network.inside)},
                    {"between", link(s.network.between)},
                    {"per_node", s.network.per_node},
                    {"radix", s.network.radix}};
  all["shard_group"] = s.by_node ? "node" : "world";
  all["failures"] = {{"rank_mean_time_s", s.part_mean_time}, {"checkpoint_s", s.checkpoint}, {"restart_s", s.restart}};
  all["rows"] = Json::array();
  for (const int ranks : s.ranks)
    for (const int stage : s.stages) all["rows"].push_back(simulated_row(t, s, ranks, stage));
  all["advice"] = advice_of(t, s, all["rows"]);
  return all;
}

Json validate(const Timeline& t, const Simulation& s, int stage, const Json& scaling) {
  Json rows = Json::array();
  const int cores = static_cast<int>(number(field(scaling, {"machine", "cores"})).value_or(0));
  for (const Json& row : scaling.at("rows")) {
    const int ranks = row.at("ranks");
    auto scenario = scenario_of(s, ranks, stage, row.at("mode") == "weak" ? t.leaves : leaves_of_rank(t, ranks));
    scenario.cores = cores;
    const double measured = row.at("step_s").at("median"), predicted = predict(t, scenario).total();
    rows.push_back({{"mode", row.at("mode")},
                    {"ranks", ranks},
                    {"oversubscribed", row.at("oversubscribed")},
                    {"measured_s", measured},
                    {"predicted_s", predicted},
                    {"error", predicted / measured - 1}});
  }
  return rows;
}

}  // namespace fmtrain
