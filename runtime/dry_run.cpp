#include "runtime/dry_run.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/data/plan.h"
#include "runtime/engine/schedule.h"
#include "runtime/engine/shard_groups.h"
#include "runtime/errors.h"
#include "runtime/hash.h"
#include "runtime/memory_fit.h"
#include "runtime/run_inputs.h"
#include "runtime/unfreeze.h"

namespace fmtrain {
namespace {

/// XXH3-128 of the ids of the first, the middle and the last sample: they can be read.
std::string sampled(const Dataset& data) {
  const std::vector<int64_t> ids{0, data.size() / 2, data.size() - 1};
  const auto tokens = data.get(ids).tokens;
  return xxh3_hex(tokens.const_data_ptr(), tokens.nbytes());
}

Json data_facts(const RunInputs& inputs) {
  Json facts = Json::object();
  for (const auto& [name, data] : {std::pair{"train", inputs.train.get()}, {"validation", inputs.validation.get()}, {"test", inputs.test.get()}}) {
    if (!data) continue;
    int64_t tokens = 0, longest = 0;
    for (const auto length : data->lengths()) {
      tokens += length;
      longest = std::max<int64_t>(longest, length);
    }
    facts[name] = {{"samples", data->size()}, {"tokens", tokens}, {"longest", longest}, {"truncated_texts", data->info().truncated_texts},
                   {"sha256", data->info().content_sha256}, {"sampled", sampled(*data)}};
  }
  return facts;
}

Json memory_facts(const RankMemory& m, Precision precision) {
  Json facts{{"parameters", m.parameters}, {precision == Precision::kFp16 ? "fp16_copy" : "bf16_copy", m.low_copy}, {"gradients", m.gradients},
             {"buckets", m.buckets}, {"optimizer", m.optimizer}, {"activations", m.activations}, {"evaluation", m.evaluation},
             {"snapshot", m.snapshot}, {"loading", m.loading}, {"freed", m.freed}, {"reading", m.reading}, {"process", m.process},
             {"total", m.total()}};
  if (m.on_host > 0) facts["on_host"] = m.on_host;
  return facts;
}

Json setting_facts(const FitSetting& s) {
  return {{"engine.zero", s.stage}, {"engine.shard_group", s.by_node ? "node" : "world"}, {"engine.recompute", s.recompute}, {"batch.micro", s.micro}};
}

/// Whether the run fits into `limit`, and what would.
Json fit_facts(const MemoryNeeds& needs, const FitSetting& now, const MemoryLimit& limit) {
  if (limit.bytes <= 0) return nullptr;
  const auto fitting = settings_that_fit(needs, now, limit.bytes);
  Json facts{{"memory", limit.bytes}, {"source", limit.source}, {"micro", now.micro}, {"fits", !fitting.empty() && fitting[0].setting == now},
             {"largest_micro", largest_micro(needs, now, limit.bytes)}, {"least", least_memory(needs, now)}, {"changes", Json::array()}};
  for (const auto& [setting, total] : fitting)
    if (!(setting == now)) facts["changes"].push_back({{"text", change_text(now, setting)}, {"setting", setting_facts(setting)}, {"total", total}});
  return facts;
}

Json learning_rates(const Config& config, int64_t steps) {
  Json curve = Json::array();
  constexpr int64_t kPoints = 10;
  int64_t last = -1;
  for (int64_t i = 0; i <= kPoints; ++i) {
    const int64_t step = (steps - 1) * i / kPoints;
    if (step == last || steps == 0) continue;
    curve.push_back({step + 1, learning_rate(config.schedule, config.optimizer.lr, step, steps)});
    last = step;
  }
  return curve;
}

Json newest_checkpoint(const std::string& run) {
  int64_t newest = -1;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run + "/checkpoints", error)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with("step-") && name.find_first_not_of("0123456789", 5) == std::string::npos && std::filesystem::exists(entry.path() / "manifest.json"))
      newest = std::max<int64_t>(newest, std::stoll(name.substr(5)));
  }
  return newest < 0 ? Json(nullptr) : Json(newest);
}

/// As a run on so many ranks does, with hosts filled one after the other.
void check_hosts(const Config& config, int ranks, int per_node) {
  if (config.engine.zero == 0 || config.engine.shard_group == ShardGroup::kWorld) return;
  std::vector<int> nodes;
  for (int rank = 0; rank < ranks; ++rank) nodes.push_back(rank / per_node);
  if (const auto fault = uneven_nodes(nodes); ranks > per_node && !fault.empty())
    throw ConfigError("engine.shard_group: node needs the same power of two of ranks on every host, but of " +
                      std::to_string(ranks) + " ranks with " + std::to_string(per_node) + " a host, " + fault +
                      "; change their numbers, or use world");
}

}  // namespace

Json dry_run(const Config& config, const DryRunOptions& options) {
  const auto comm = make_single_communicator();
  const RunInputs inputs = load_inputs(config, *comm, at::kCPU);
  const StepPlan plan(inputs.train->lengths(), inputs.train->valid_targets(), config.run.seed, config.batch, config.data.order);
  check_ranks(config.batch, options.ranks);
  const int per_node = options.ranks_per_node > 0 ? options.ranks_per_node : options.ranks;
  check_hosts(config, options.ranks, per_node);
  const auto groups = apply_freeze(config.finetune, *inputs.model);
  const int64_t steps = plan.total_steps(config.schedule), trained = groups[0].elements + groups[1].elements;

  Json facts;
  facts["config"] = resolved_yaml(config);
  facts["model"] = {{"path", inputs.model_dir}, {"parameters", trained + groups[2].elements}, {"labels", inputs.labels}, {"notes", inputs.notes},
                    {"weights_sha256", inputs.base_sha256}, {"tokenizer_sha256", inputs.tokenizer->sha256()}};
  facts["data"] = data_facts(inputs);
  for (const auto& g : groups) facts["groups"].push_back({{"name", g.name}, {"tensors", g.tensors}, {"elements", g.elements}});
  for (const auto& p : inputs.model->parameters())
    facts["parameters"].push_back({{"name", p.name}, {"shape", p.value.sizes().vec()}, {"trained", p.value.requires_grad()}});
  const auto unfreezing = unfreeze_schedule(config.finetune, *inputs.model, plan.steps_per_epoch());
  for (const auto& u : unfreezing)
    facts["unfreezing"]["parts"].push_back({{"step", u.step}, {"joins", u.what}, {"tensors", u.tensors}, {"elements", u.elements}});
  if (!unfreezing.empty()) facts["unfreezing"]["text"] = unfreeze_text(unfreezing, steps);
  facts["steps"] = {{"total", steps}, {"per_epoch", plan.steps_per_epoch()}, {"leaves", plan.leaves()}, {"ranks", options.ranks}};
  facts["learning_rate"] = learning_rates(config, steps);
  const MemoryNeeds needs = memory_needs(config, inputs, options.ranks, per_node, options.gpu);
  const FitSetting setting = setting_of(config);
  facts["memory"] = memory_facts(predict(needs, setting), config.engine.precision);
  for (const int64_t stage : {0, 1, 2, 3}) {
    FitSetting other = setting;
    other.stage = stage;
    facts["memory_by_zero"].push_back(predict(needs, other).total());
  }
  const SharedBytes shared = shared_bytes(needs, setting);
  facts["shared_memory"] = {{"by_rank", shared.by_rank}, {"once", shared.once}};
  facts["fit"] = fit_facts(needs, setting, options.memory > 0 ? MemoryLimit{options.memory, "given"} : memory_of_rank(options.gpu, per_node));
  const int64_t bytes = 4 * trained * (1 + needs.states);
  facts["checkpoint"] = {{"bytes", bytes}, {"bytes_per_rank", bytes / options.ranks}};
  facts["resume"] = {{"step", newest_checkpoint(config.run.dir)}, {"dir", config.run.dir}, {"fixed", fingerprint(config, inputs, options.gpu ? "cuda" : "cpu")}};
  return facts;
}

}  // namespace fmtrain
