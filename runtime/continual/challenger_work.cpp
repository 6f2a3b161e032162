#include "runtime/continual/challenger_work.h"

#include <algorithm>
#include <cmath>

#include "runtime/continual/cycle_data.h"
#include "runtime/continual/gate.h"
#include "runtime/continual/gate_counts.h"
#include "runtime/continual/observe.h"
#include "runtime/continual/sealed_json.h"
#include "runtime/continual/stored_files.h"
#include "runtime/data/write_raw.h"
#include "runtime/errors.h"
#include "runtime/hash.h"
#include "runtime/model_dir.h"

namespace fmtrain {
namespace {

constexpr size_t kEarlierTests = 8;
constexpr size_t kLongestRecord = size_t{64} << 20;

Json stage_record(const CycleState& state, CycleStage stage) { return state.records.at(cycle_stage_name(stage)); }

std::string read_text(const std::string& path) { return read_file(posix_files(), path, kLongestRecord, Links::kRefuse); }

Json json_file(const std::string& path) {
  try {
    return parse_json(read_text(path), {kLongestRecord, 16});
  } catch (const std::runtime_error& error) {
    throw CheckpointError(path + ": " + error.what());
  }
}

std::string sha256_text(const std::string& text) { return sha256_hex(text.data(), text.size()); }

std::string rolling_name(int64_t cycle) { return "rolling-" + version_name(cycle); }

double megabytes(const std::string& model) {
  return static_cast<double>(hash_file(posix_files(), model, "model.safetensors").bytes) / 1e6;
}

}  // namespace

Json plan_json(const CyclePlan& plan) {
  return {{"first", plan.first},
          {"last", plan.last},
          {"parent", plan.parent},
          {"from", plan.from_base ? "base" : "champion"},
          {"program", plan.program}};
}

CyclePlan plan_of(const CycleState& state) {
  const Json record = stage_record(state, CycleStage::kTriggered);
  return {whole_of(record, "first"), whole_of(record, "last"), whole_of(record, "parent"), text_of(record, "from") == "base",
          text_of(record, "program")};
}

Json scores_in_use_after(const std::vector<CycleState>& cycles, size_t i, int64_t champion) {
  Json scores = Json::object();
  const int64_t used = i + 1 < cycles.size() ? plan_of(cycles[i + 1]).parent : champion;
  const auto evaluated = cycles[i].records.find(cycle_stage_name(CycleStage::kEvaluated));
  const char* model = used == cycles[i].version ? "challenger" : used == plan_of(cycles[i]).parent ? "champion" : nullptr;
  if (!model || evaluated == cycles[i].records.end() || !evaluated->contains("tests")) return scores;
  const Json tests = evaluated->at("tests");
  for (const auto& [name, of] : tests.items()) scores[name == "rolling" ? rolling_name(cycles[i].number) : name] = of.at(model);
  return scores;
}

CycleDataOptions cycle_data_options(const Config& config, const CyclePlan& plan, const Registry& registry, int64_t champion) {
  CycleDataOptions options;
  options.window = config.continual.window;
  options.replay_share = config.continual.replay.share;
  options.replay_capacity = config.continual.replay.capacity;
  options.all = plan.from_base;
  options.known_labels = stored_labels(registry.version_directory(champion), config.model.task).value_or(std::vector<std::string>{});
  options.seed = config.run.seed;
  return options;
}

std::string ChallengerWork::path(const std::string& directory, const char* name) const {
  return directory + "/" + name + raw_extension(crew_.config().model.task);
}

Json ChallengerWork::freeze(const CycleState& state, const std::string& directory) {
  const CyclePlan plan = plan_of(state);
  const auto options = cycle_data_options(crew_.config(), plan, registry_, plan.parent);
  return cycle_data_json(
      freeze_cycle_data(store_, plan.first, plan.last, state.number, options, registry_.files(), directory));
}

Json ChallengerWork::train(const CycleState& state, const std::string& directory) {
  const CyclePlan plan = plan_of(state);
  const auto& c = crew_.config();
  TrainingOrder order{directory + "/run", "", path(directory, "train"), {}, {}, {}};
  if (!plan.from_base) {
    order.model = registry_.verified(plan.parent);
    order.lr = c.optimizer.lr * c.continual.challenger.lr_scale;
    order.warmup = c.continual.challenger.warmup;
    order.l2_start = c.continual.challenger.l2_start;
  }
  if (!crew_.train(order)) throw StoppedInCycle{};
  const Json report = json_file(order.directory + "/report.json");
  const double hours = report.at("training").at("seconds").get<double>() * crew_.ranks() / 3600;
  return {{"weights_sha256", report.at("weights_sha256")}, {"gpu_hours", crew_.serves_gpu() ? hours : 0.0}};
}

std::vector<std::pair<std::string, std::string>> ChallengerWork::tests(const CycleState& state,
                                                                       const std::string& directory) const {
  std::vector<std::pair<std::string, std::string>> found;
  const Json data = stage_record(state, CycleStage::kDataFrozen);
  for (const char* name : {"rolling", "core"})
    if (data.value(name, 0) > 0) found.emplace_back(name, path(directory, name));
  Cycles cycles(registry_, {});
  auto earlier = cycles.all();
  std::reverse(earlier.begin(), earlier.end());
  size_t taken = 0;
  for (const auto& cycle : earlier) {
    // Of an earlier challenger that was not promoted the texts are in this cycle's own sets.
    if (cycle.number >= state.number || taken == kEarlierTests || plan_of(cycle).last > plan_of(state).first) continue;
    if (!cycle.records.contains("data-frozen") || cycle.records.at("data-frozen").value("rolling", 0) <= 0) continue;
    found.emplace_back(rolling_name(cycle.number), path(cycles.directory(cycle.number), "rolling"));
    ++taken;
  }
  return found;
}

/// Chaudhry et al., "Riemannian walk for incremental learning", ECCV 2018: mean over the earlier tests of the best score that a
/// model in use ever had there, minus the challenger's.
double ChallengerWork::forgetting(const CycleState& state, const Json& tests) const {
  double sum = 0;
  int64_t count = 0;
  const auto cycles = Cycles(registry_, {}).all();
  for (const auto& [name, scores] : tests.items()) {
    if (name == "rolling") continue;
    double best = scores.at("champion").get<double>();
    for (size_t i = 0; i + 1 < cycles.size() && cycles[i].number < state.number; ++i)
      best = std::max(best, scores_in_use_after(cycles, i, 0).value(name, best));
    sum += best - scores.at("challenger").get<double>();
    ++count;
  }
  return count ? sum / static_cast<double>(count) : 0;
}

Json ChallengerWork::evaluate(const CycleState& state, const std::string& directory) {
  const CyclePlan plan = plan_of(state);
  const auto& config = crew_.config();
  const std::string champion = registry_.verified(plan.parent), challenger = directory + "/run/model";
  GateCounts counts(config.model.task);
  const auto sets = tests(state, directory);
  std::vector<std::string> files;
  for (const auto& [name, file] : sets) files.push_back(file);
  auto before = crew_.observe({champion, files}), after = crew_.observe({challenger, files});
  for (size_t i = 0; i < sets.size(); ++i) counts.add(sets[i].first, std::move(before[i]), std::move(after[i]));
  const double latency = counts.seconds_per_text() * 1000, size = megabytes(challenger);
  const auto& gate = config.continual.gate;
  Json record{{"counts_sha256", ""}, {"tests", counts.scores()}, {"ece", counts.ece()}, {"temperature", counts.temperature()}};
  record["latency_ms"] = latency;
  record["size_mb"] = size;
  record["within_budget"] = latency <= gate.latency.value_or(HUGE_VAL) && size <= gate.size.value_or(HUGE_VAL);
  record["leaked"] = leaked_texts(path(directory, "train"), {path(directory, "rolling"), path(directory, "core")}, config.model.task);
  record["forgetting"] = forgetting(state, record.at("tests"));
  const std::string text = seal(counts.json());
  write_file_atomic(registry_.files(), directory + "/counts.json", text);
  record["counts_sha256"] = sha256_text(text);
  return record;
}

Json ChallengerWork::decide(const CycleState& state, const std::string& directory) {
  const Json record = stage_record(state, CycleStage::kEvaluated);
  const auto& config = crew_.config();
  const std::string file = directory + "/counts.json", text = read_text(file);
  if (sha256_text(text) != record.at("counts_sha256"))
    throw CheckpointError(file + ": is not what was counted; end the cycle with --abandon and start another");
  GateInputs inputs = gate_inputs(unseal(text), config.model.task);
  for (const char* name : {"rolling", "core"})
    if (record.at("tests").contains(name))
      add_slices(inputs, name, path(directory, name), config.continual.gate.slices, config.model.task);
  inputs.champion_ece = record.at("ece").at("champion");
  inputs.challenger_ece = record.at("ece").at("challenger");
  inputs.forgetting = record.at("forgetting");
  inputs.within_budget = record.at("within_budget");
  inputs.leaked = record.at("leaked");
  GateOptions options;
  options.margin = config.continual.gate.core_margin;
  options.resamples = config.continual.gate.bootstrap;
  options.seed = config.run.seed;
  return gate_json(inputs, judge(inputs, options));
}

Json ChallengerWork::publish(const CycleState& state, const std::string& directory) {
  const CyclePlan plan = plan_of(state);
  const Json data = stage_record(state, CycleStage::kDataFrozen), gate = stage_record(state, CycleStage::kDecided);
  const std::string reason = "cycle " + std::to_string(state.number);
  RegistryLock lock(registry_, me_);
  RegistryWriter writer(registry_, lock.fence());
  const auto versions = registry_.versions();
  if (std::find(versions.begin(), versions.end(), state.version) == versions.end()) {
    const Json model = json_file(directory + "/run/model/fmtrain.json").at("lineage");
    Lineage lineage;
    lineage.version = state.version;
    lineage.parent = plan.from_base ? 0 : plan.parent;
    lineage.base_sha256 = model.at("base_sha256");
    lineage.dataset_sha256 = data.at("dataset_sha256");
    lineage.replay_sha256 = data.at("replay_sha256");
    lineage.config_sha256 = model.at("config");
    lineage.code_version = plan.program;
    lineage.seed = crew_.config().run.seed;
    lineage.trigger = stage_record(state, CycleStage::kTriggered);
    lineage.gate = gate;
    writer.add(directory + "/run/model", lineage);
  }
  writer.challenge(state.version, state.started);
  const auto verdict = gate.at("verdict").get<std::string>();
  const Aliases now = registry_.aliases();
  const bool was = std::find(now.promoted.begin(), now.promoted.end(), state.version) != now.promoted.end();
  const bool promotes = verdict == gate_verdict_name(GateVerdict::kPromote) && (was || now.champion == plan.parent);
  if (promotes) writer.promote(state.version, reason, state.started);
  if (verdict == gate_verdict_name(GateVerdict::kReject)) writer.reject(state.version, reason, state.started);
  return {{"promoted", promotes}};
}

}  // namespace fmtrain
