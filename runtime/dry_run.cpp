#include "runtime/dry_run.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/data/plan.h"
#include "runtime/engine/optimizer.h"
#include "runtime/engine/schedule.h"
#include "runtime/errors.h"
#include "runtime/run_inputs.h"

namespace fmtrain {
namespace {

Json data_facts(const RunInputs& inputs) {
  Json facts = Json::object();
  for (const auto& [name, data] : {std::pair{"train", inputs.train.get()}, {"validation", inputs.validation.get()}, {"test", inputs.test.get()}}) {
    if (!data) continue;
    int64_t tokens = 0, longest = 0;
    for (const auto length : data->lengths()) {
      tokens += length;
      longest = std::max<int64_t>(longest, length);
    }
    facts[name] = {{"samples", data->size()}, {"tokens", tokens}, {"longest", longest}, {"truncated_texts", data->info().truncated_texts}};
  }
  return facts;
}

/// Tokens of the largest leaf of the first epoch.
int64_t largest_leaf(const StepPlan& plan, const Dataset& train) {
  int64_t largest = 0;
  for (int64_t s = 0; s < plan.steps_per_epoch(); ++s)
    for (const auto& leaf : plan.step(s).leaves) {
      int64_t tokens = 0;
      for (const auto id : leaf) tokens += train.lengths()[static_cast<size_t>(id)];
      largest = std::max(largest, tokens);
    }
  return largest;
}

/// Activations of one leaf kept for the backward pass, bytes: s (34 d + 5 h l) a layer of 2-byte values (Korthikanti et al.,
/// "Reducing activation recomputation in large transformer models", 2022, section 4.1), s tokens in samples of l; twice that
/// in fp32.
/// With recomputation: the inputs of all segments, and one segment whole.
double activation_bytes(const ModelConfig& c, int64_t tokens, double length) {
  const auto t = static_cast<double>(tokens), d = static_cast<double>(c.hidden_size);
  const double layer = t * (34.0 * d + 5.0 * static_cast<double>(c.heads) * length) * (c.precision == Precision::kFp32 ? 2 : 1);
  if (c.recompute == 0) return static_cast<double>(c.layers) * layer;
  const int64_t segments = (c.layers + c.recompute - 1) / c.recompute;
  return static_cast<double>(segments) * t * d * 4 + static_cast<double>(std::min(c.recompute, c.layers)) * layer;
}

/// Elements of the weights that are multiplied with.
int64_t product_weights(TaskModel& model) {
  int64_t elements = 0;
  for (const auto& p : model.parameters())
    if (p.value.dim() == 2 && p.name.find("embeddings.") == std::string::npos) elements += p.value.numel();
  return elements;
}

/// What the memory of a rank depends on, besides the stage.
struct MemoryShape {
  int64_t trained, frozen;  ///< elements
  int64_t leaves;           ///< of a rank, in one step
  int64_t states;           ///< of the optimizer, for every parameter
  const char* copy_name;            ///< of the copy for products
  int64_t copy, activations;        ///< bytes
  bool exact, async, offload;
  int ranks;                ///< all of one machine
};

/// Bytes of one rank at one stage. Formulas: docs/training.md, memory.
Json memory_facts(const MemoryShape& s, int64_t stage) {
  const int64_t share = ShardPlan(s.trained, s.ranks).shard_numel();
  const int64_t partial_sums = s.exact ? std::bit_width(static_cast<uint64_t>(s.leaves - 1)) + 1 : 1;
  const bool streams = stage >= 2 && s.leaves == 1;
  Json m;
  m["parameters"] = 4 * (s.frozen + (stage == 0 ? s.trained : s.trained / s.ranks));
  m[s.copy_name] = s.copy;
  m["gradients"] = 4 * ((streams ? std::min(s.trained, 2 * ShardPlan(s.trained, s.ranks).bucket(0).numel()) : s.trained * partial_sums) + (stage >= 2 ? share : 0));
  const int64_t updated = stage == 0 ? s.trained : share;
  m["optimizer"] = s.offload ? 0 : 4 * s.states * updated;
  m["activations"] = s.activations;
  m["snapshot"] = s.async ? 4 * (1 + s.states) * share : 0;
  int64_t total = 0;
  for (const auto& [name, bytes] : m.items()) total += bytes.get<int64_t>();
  m["total"] = total;
  if (s.offload) m["on_host"] = 4 * (s.states + 2) * updated;  // and the values and gradients of an update
  return m;
}

int64_t states_of(const Config& config) { return std::ssize(optimizer_states(config.optimizer, config.finetune.l2_start)); }

MemoryShape memory_shape(const Config& config, const RunInputs& inputs, const StepPlan& plan, int64_t trained, int64_t frozen, int ranks) {
  double mean = 0;
  for (const auto length : inputs.train->lengths()) mean += length;
  const double activations = activation_bytes(inputs.model->config(), largest_leaf(plan, *inputs.train), mean / static_cast<double>(inputs.train->size()));
  return {trained, frozen, (plan.leaves() + ranks - 1) / ranks, states_of(config),
          config.engine.precision == Precision::kFp16 ? "fp16_copy" : "bf16_copy",
          config.engine.precision == Precision::kFp32 ? 0 : 2 * product_weights(*inputs.model), std::llround(activations), config.numerics.exact,
          config.checkpoint.async, config.engine.offload == Offload::kOptimizer, ranks};
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

}  // namespace

Json dry_run(const Config& config, int ranks) {
  const auto comm = make_single_communicator();
  const RunInputs inputs = load_inputs(config, *comm, at::kCPU);
  const StepPlan plan(inputs.train->lengths(), inputs.train->valid_targets(), config.run.seed, config.batch, config.data.order);
  check_ranks(config.batch, ranks);
  const auto groups = apply_freeze(config.finetune, *inputs.model);
  const int64_t steps = plan.total_steps(config.schedule), trained = groups[0].elements + groups[1].elements;

  Json facts;
  facts["config"] = resolved_yaml(config);
  facts["model"] = {{"path", inputs.model_dir}, {"parameters", trained + groups[2].elements}, {"labels", inputs.labels}, {"notes", inputs.notes}};
  facts["data"] = data_facts(inputs);
  for (const auto& g : groups) facts["groups"].push_back({{"name", g.name}, {"tensors", g.tensors}, {"elements", g.elements}});
  for (const auto& p : inputs.model->parameters())
    facts["parameters"].push_back({{"name", p.name}, {"shape", p.value.sizes().vec()}, {"trained", p.value.requires_grad()}});
  facts["steps"] = {{"total", steps}, {"per_epoch", plan.steps_per_epoch()}, {"leaves", plan.leaves()}, {"ranks", ranks}};
  facts["learning_rate"] = learning_rates(config, steps);
  const MemoryShape shape = memory_shape(config, inputs, plan, trained, groups[2].elements, ranks);
  facts["memory"] = memory_facts(shape, config.engine.zero);
  for (const int64_t stage : {0, 1, 2, 3}) facts["memory_by_zero"].push_back(memory_facts(shape, stage)["total"]);
  const int64_t bytes = 4 * trained * (1 + states_of(config));
  facts["checkpoint"] = {{"bytes", bytes}, {"bytes_per_rank", bytes / ranks}};
  facts["resume"] = {{"step", newest_checkpoint(config.run.dir)}, {"dir", config.run.dir}};
  return facts;
}

}  // namespace fmtrain
