#include "runtime/memory_fit.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>

#include "comm/gpu.h"
#include "models/ops/linear.h"
#include "models/ops/product.h"
#include "runtime/data/plan.h"
#include "runtime/engine/optimizer.h"
#include "runtime/evaluator.h"
#include "runtime/parameter_place.h"
#include "runtime/run_inputs.h"

namespace fmtrain {
namespace {

/// Anonymous and shared pages of a process besides its tensors (LibTorch, MPI, tokenizer, gaps in the heap), the upper end of what
/// bench/memory.py found; and bytes of a CUDA context with its libraries' workspaces, not measured.
constexpr int64_t kProcess = 400ll << 20, kGpuProcess = 600ll << 20;

/// Bytes that one leaf takes in one layer and around it. d: hidden size, m: size of the feed-forward layer. Compare Korthikanti et al.,
/// "Reducing activation recomputation in large transformer models", 2022, section 4.1, who count 34 d + 5 heads * length a token
/// for 2-byte values, with stored masks.
struct LayerBytes {
  double kept;               ///< of a layer, until its backward
  double forward, backward;  ///< temporaries of the last layer, above all that is kept
  double input;              ///< of a layer: [tokens, d]
};

bool is_one_operation(const MemoryNeeds& n) { return !n.gpu && n.shape.precision != Precision::kFp16; }

/// Where a layer is one operation (models/ops/encoder_layer.h). Kept: queries with keys and values, context, attended rows and their norm, the
/// wide rows, the norm of the output and the output; of attention two numbers a row and head. Forward: the wide rows once more
/// and the last product. Backward: the gradients of the output, of both sides of its norm, of the wide rows, and of a weight.
LayerBytes fused_bytes(const MemoryNeeds& n, LeafSize leaf) {
  const ModelConfig& c = n.shape;
  const double a = c.precision == Precision::kFp32 ? 4 : 2;
  const auto t = static_cast<double>(leaf.tokens), d = static_cast<double>(c.hidden_size), m = static_cast<double>(c.intermediate_size);
  const double kept = t * (a * (8 * d + m) + 8 * static_cast<double>(c.heads) + 8);
  const double wide = n.widened ? 4 * (t * (d + m) + d * m) : 0;  // both sides and the result of the largest products
  return {kept, t * a * (d + m) + wide, t * a * (3 * d + m) + d * m * a + wide, t * a * d};
}

double fused_training_bytes(const MemoryNeeds& n, LeafSize leaf, int64_t recompute) {
  const ModelConfig& c = n.shape;
  const LayerBytes b = fused_bytes(n, leaf);
  const auto t = static_cast<double>(leaf.tokens), d = static_cast<double>(c.hidden_size);
  const bool whole = n.trained_layers == c.layers;
  const double around = t * 4 * static_cast<double>(c.labels) + (whole ? 4 * t * d : 0) + b.input;  // logits; the embeddings' sum; the first input
  if (recompute == 0 || n.trained_layers == 0) {
    const LayerBytes some = fused_bytes(n, {leaf.tokens - leaf.left_out});
    const double kept_less = b.kept - some.kept - 3 * (b.input - some.input);  // queries, keys and values are of all rows
    // The peak is where the last layer begins its backward, or the one before it.
    return around + static_cast<double>(n.trained_layers) * b.kept +
           std::max(std::max(some.forward, some.backward) - (n.trained_layers > 0 ? kept_less : 0), std::max(b.forward, b.backward) - (n.trained_layers > 0 ? b.kept : 0));
  }
  // Backward of the last segment: inputs of all segments, the gradient of its output, and its layers whole.
  const auto segments = static_cast<double>((c.layers + recompute - 1) / recompute), layers = static_cast<double>(std::min(recompute, c.layers));
  return around + b.input * segments + layers * b.kept + std::max(b.forward, b.backward);
}

/// The same where LibTorch's operations do it. What autograd keeps: inputs of products, queries with keys and values (fp32), attention
/// probabilities, sums before norms, and the joined weight of queries, keys and values.
LayerBytes composed_bytes(const ModelConfig& c, LeafSize leaf) {
  const bool low = c.precision != Precision::kFp32;
  const auto t = static_cast<double>(leaf.tokens), d = static_cast<double>(c.hidden_size), m = static_cast<double>(c.intermediate_size);
  const double copies = c.dropout.attention > 0 ? 2 : 1;  // the masked probabilities as well
  const double probabilities = copies * 4 * static_cast<double>(c.heads) * static_cast<double>(leaf.squares);
  LayerBytes b;
  b.input = 4 * t * d;
  b.kept = t * (low ? 26 * d + 4 * m : 32 * d + 8 * m) + probabilities + (low ? 6 : 12) * d * d;
  b.forward = t * d * (low ? 22 : 12);                     // outputs of the last product, its dropout and norm; 2 bytes: fp32 inputs too
  b.backward = low ? 2 * m * t + 6 * d * m : 4 * m * t + 4 * d * m;  // gradients of the last product's input and weight
  return b;
}

double composed_training_bytes(const MemoryNeeds& n, LeafSize leaf, int64_t recompute) {
  const ModelConfig& c = n.shape;
  const bool low = c.precision != Precision::kFp32;
  const LayerBytes b = composed_bytes(c, leaf);
  const double head = static_cast<double>(leaf.tokens) * (4.0 * static_cast<double>(c.labels)) + b.input / (low ? 2 : 1);
  const double sum = n.trained_layers == c.layers ? b.input : 0;  // of the embeddings, before their norm
  if (recompute == 0 || n.trained_layers == 0)
    return sum + head + static_cast<double>(n.trained_layers) * b.kept + std::max(b.forward - b.input / (low ? 2 : 1), b.backward);
  // Backward of the last segment: inputs of all segments, its output and the gradient of that, and its layers whole.
  const auto segments = static_cast<double>((c.layers + recompute - 1) / recompute), layers = static_cast<double>(std::min(recompute, c.layers));
  const double shared = low ? 0 : b.input;  // in fp32 the first layer keeps the segment's input itself
  return sum + b.input * (segments + 2) + layers * b.kept - shared +
         std::max(b.forward - b.input, b.backward + (low ? b.input / 2 : b.input));
}

/// Peak of forward and backward of one leaf.
double training_bytes(const MemoryNeeds& n, LeafSize leaf, int64_t recompute) {
  return is_one_operation(n) ? fused_training_bytes(n, leaf, recompute) : composed_training_bytes(n, leaf, recompute);
}

/// Forward without gradients. One operation: attended rows, the wide rows, the last product, the output and packed weights; else input,
/// context and attended rows, and both sides of the activation.
double evaluation_bytes(const MemoryNeeds& n) {
  if (n.evaluation_tokens == 0) return 0;
  const ModelConfig& c = n.shape;
  const auto t = static_cast<double>(n.evaluation_tokens), d = static_cast<double>(c.hidden_size), m = static_cast<double>(c.intermediate_size);
  const double wide = c.precision != Precision::kFp32 ? 4 : 8, value = c.precision != Precision::kFp32 ? 2 : 4;
  const double packed = std::min<double>(kPackedBytes, static_cast<double>(c.layers) * (n.widened ? 4 : value) * (4 * d * d + 2 * d * m));
  return is_one_operation(n) ? t * value * (4 * d + m) + packed + (n.widened ? 4 * (t * (d + m) + d * m) : 0) : t * (12 * d + wide * m);
}

/// Whole gradients that LeafSum holds for k leaves: the most ones in the counts below k of finished leaves that need one more.
int64_t partial_sums(int64_t leaves, bool exact) {
  return exact ? std::max(1, static_cast<int>(std::bit_width(static_cast<uint64_t>(leaves / 2)))) : 1;
}

/// Values of batch.micro, the largest first.
std::vector<int64_t> micros(const MemoryNeeds& n) {
  std::vector<int64_t> all;
  for (int64_t micro = n.global / n.ranks; micro > 0; --micro)
    if (n.global % micro == 0) all.push_back(micro);
  return all;
}

/// The ranks that share out what a stage does.
int sharers(const MemoryNeeds& n, const FitSetting& s) { return s.by_node ? n.ranks_per_node : n.ranks; }

/// `now` with other stages, in the order in which they are tried: a copy on every host, if `now` has them, then one over all ranks.
std::vector<FitSetting> stages(const MemoryNeeds& n, const FitSetting& now) {
  std::vector<FitSetting> all;
  for (const bool by_node : now.by_node && !n.one_node ? std::vector{true, false} : std::vector{now.by_node})
    for (int64_t stage = n.ranks == 1 ? 4 : 0; stage <= (n.gpu ? 2 : 3); ++stage) {
      const FitSetting s{stage, now.recompute, now.micro, by_node};
      if (!(s == now) && (stage > 0 || by_node == now.by_node)) all.push_back(s);
    }
  return all;
}

/// The cheapest setting that fits and differs from `now` in nothing but the keys named.
std::optional<Change> change(const MemoryNeeds& n, const FitSetting& now, int64_t bytes, bool stage, bool recompute, bool micro) {
  for (FitSetting s : stage ? stages(n, now) : std::vector{now}) {
    if (recompute) s.recompute = 1;
    if (micro) s.micro = largest_micro(n, s, bytes);
    if (s.micro == 0 || (micro && s.micro >= now.micro)) continue;
    const int64_t total = predict(n, s).total();
    if (total <= bytes) return Change{s, total};
  }
  return std::nullopt;
}

/// Encoder layers that gradients reach; all when the embeddings are trained.
int64_t trained_layers(TaskModel& model) {
  const int64_t layers = model.config().layers;
  int64_t reached = 0;
  for (const auto& p : model.parameters()) {
    const auto place = place_of(p.name);
    if (!p.value.requires_grad()) continue;
    if (place.part == ParameterPlace::kEmbeddings) return layers;
    if (place.part == ParameterPlace::kLayer) reached = std::max(reached, layers - place.layer);
  }
  return reached;
}

int64_t evaluation_tokens(const RunInputs& inputs) {
  int64_t largest = 0;
  for (const auto* data : {inputs.validation.get(), inputs.test.get()}) {
    if (!data) continue;
    for (const auto& batch : evaluation_batches(*data)) {
      int64_t tokens = 0;
      for (const auto id : batch) tokens += data->lengths()[static_cast<size_t>(id)];
      largest = std::max(largest, tokens);
    }
  }
  return largest;
}

/// Tokens of a sample that go on after the last layer's attention.
int64_t left_in(const Dataset& data, const ModelConfig& shape, size_t sample) {
  if (shape.task == Task::kTokenClassification) return data.valid_targets()[sample];
  return shape.pooling == Pooling::kMean ? data.lengths()[sample] : 1;
}

LeafSize size_of(const std::vector<int64_t>& leaf, const Dataset& data, const ModelConfig& shape) {
  LeafSize size;
  for (const auto id : leaf) {
    const int64_t length = data.lengths()[static_cast<size_t>(id)];
    size.tokens += length;
    size.squares += length * length;
    size.left_out += length - left_in(data, shape, static_cast<size_t>(id));
  }
  return size;
}

LeafSize largest_of(const StepPlan& plan, int64_t steps, const Dataset& data, const ModelConfig& shape, int64_t global) {
  const int64_t looked_at = std::min(steps, std::max<int64_t>(1, (1 << 18) / global));
  const auto kept = [&](LeafSize size) { return composed_bytes(shape, size).kept; };
  LeafSize largest;
  for (int64_t i = 0; i < looked_at; ++i)
    for (const auto& leaf : plan.step(i * steps / looked_at).leaves)
      if (const auto size = size_of(leaf, data, shape); kept(size) > kept(largest)) largest = size;
  return largest;
}

std::string gigabytes(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

/// Every rank has one leaf of an update, whose gradients stay bf16 (engine/leaf_window.h).
bool is_narrow(const MemoryNeeds& n, const FitSetting& s) {
  return n.global / s.micro <= n.ranks && !n.gpu && n.shape.precision == Precision::kBf16 && n.trained_products > 0;
}

/// The others' gradients, or its own, are read where they lie.
bool reads_window(const MemoryNeeds& n, const FitSetting& s) {
  return is_narrow(n, s) && n.one_pass && n.one_node && (n.ranks == 1 || s.stage <= 1);
}

bool has_window(const MemoryNeeds& n, const FitSetting& s) {
  return reads_window(n, s) || (is_narrow(n, s) && n.ranks > 1 && (s.stage == 1 || (s.stage > 1 && sharers(n, s) == 1)));
}

int64_t window_bytes(const MemoryNeeds& n) {
  return 2 * (n.trained - n.table) + 4 * (n.trained - n.table - n.trained_products);
}

/// The ranks of a node have one bf16 copy.
bool shares_copy(const MemoryNeeds& n, const FitSetting& s) {
  return n.one_pass && (n.one_node || s.by_node) && n.shape.precision == Precision::kBf16 && s.stage >= 1;
}

}  // namespace

FitSetting setting_of(const Config& config) {
  return {config.engine.zero, config.engine.recompute.layers, config.batch.micro, config.engine.shard_group == ShardGroup::kNode};
}

MemoryNeeds memory_needs(const Config& config, const RunInputs& inputs, int ranks, int ranks_per_node, bool gpu) {
  MemoryNeeds n;
  n.shape = inputs.model->config();
  for (const auto& p : inputs.model->parameters()) {
    (p.value.requires_grad() ? n.trained : n.frozen) += p.value.numel();
    if (p.value.requires_grad() && 4 * p.value.numel() < kMappedBytes) n.small += p.value.numel();
    n.largest_tensor = std::max(n.largest_tensor, p.value.numel());
    const bool product = p.value.dim() == 2 && p.name.find("embeddings.") == std::string::npos;
    if (product && n.shape.precision != Precision::kFp32) {
      n.products += p.value.numel();
      if (p.value.requires_grad()) n.trained_products += p.value.numel();
    }
    if (p.value.requires_grad() && p.name.ends_with("word_embeddings.weight")) n.table = p.value.numel();
  }
  n.trained_layers = trained_layers(*inputs.model);
  n.states = std::ssize(optimizer_states(config.optimizer, config.finetune.l2_start));
  n.exact = config.numerics.exact;
  n.async = config.checkpoint.async;
  n.gpu = gpu;
  n.widened = !gpu && !multiplies(product_type(n.shape.precision));
  n.in_place = base_of(config, gpu) == Base::kLater;
  n.offload = config.engine.offload == Offload::kOptimizer;
  n.one_pass = !gpu && !n.offload && config.optimizer.name == OptimizerName::kAdamW;
  n.one_node = ranks_per_node >= ranks;
  n.global = config.batch.global;
  n.ranks = ranks;
  n.ranks_per_node = std::min(ranks, ranks_per_node);
  n.evaluation_tokens = evaluation_tokens(inputs);
  const auto known = std::make_shared<std::map<int64_t, LeafSize>>();
  n.largest_leaf = [config, data = inputs.train.get(), shape = n.shape, known](int64_t micro) {
    if (const auto found = known->find(micro); found != known->end()) return found->second;
    const StepPlan plan(data->lengths(), data->valid_targets(), config.run.seed, {config.batch.global, micro}, config.data.order);
    return (*known)[micro] = largest_of(plan, plan.total_steps(config.schedule), *data, shape, config.batch.global);
  };
  return n;
}

int64_t RankMemory::total() const {
  return process + std::max(loading, parameters + low_copy + gradients + buckets + optimizer + snapshot +
                                         std::max({activations, evaluation, freed, reading}));
}

namespace {

/// Gradients of a rank, and the buckets between backward and their reduction.
void predict_gradients(const MemoryNeeds& n, const FitSetting& s, RankMemory& m) {
  const int group = sharers(n, s);
  const ShardPlan plan(n.trained, group, 0, bucket_numel(group == 1 ? 1 : static_cast<int>(s.stage), n.trained));
  const int64_t share = plan.shard_numel(), leaves = (n.global / s.micro + n.ranks - 1) / n.ranks;
  const bool one_leaf = leaves == 1, shards = s.stage >= 2 && group > 1, streams = shards && one_leaf;
  const bool reads = reads_window(n, s);
  // Of the table, rows that the texts of an update have: fewer than tokens, and a sharer has those it owns.
  const int64_t holders = s.stage == 0 ? 1 : group, tokens = n.ranks * n.largest_leaf(s.micro).tokens;
  const int64_t rows = std::min(n.table, tokens * n.shape.hidden_size) / holders;
  const int64_t beside_table = n.trained - n.table;
  if (has_window(n, s)) m.gradients = window_bytes(n) + 4 * (reads ? rows : share - (n.one_pass ? n.table / group - rows : 0));
  else if (streams) m.gradients = 4 * (n.one_pass ? beside_table / group + rows : share);
  else m.gradients = 4 * (n.trained * partial_sums(leaves, n.exact) + (shards ? share : 0));
  m.buckets = streams ? 4 * std::min(plan.padded(), 2 * plan.bucket(0).numel()) : 0;
}

}  // namespace

RankMemory predict(const MemoryNeeds& n, const FitSetting& s) {
  const int64_t share = ShardPlan(n.trained, sharers(n, s)).shard_numel();
  const bool shares = s.stage >= 1 && !n.gpu;
  RankMemory m;
  m.parameters = 4 * (n.frozen + (shares ? n.trained / n.ranks_per_node : n.trained));
  m.low_copy = 2 * (n.products - n.trained_products) + 2 * n.trained_products / (shares_copy(n, s) ? n.ranks_per_node : 1);
  predict_gradients(n, s, m);
  const int64_t updated = s.stage == 0 ? n.trained : share;
  m.optimizer = n.offload ? 0 : 4 * n.states * updated;
  m.on_host = n.offload ? 4 * (n.states + 2) * updated : 0;
  m.activations = std::llround(training_bytes(n, n.largest_leaf(s.micro), s.recompute));
  m.evaluation = std::llround(evaluation_bytes(n));
  m.snapshot = n.async ? 4 * (1 + n.states) * ShardPlan(n.trained, n.ranks).shard_numel() : 0;
  m.loading = n.in_place ? 0 : 4 * (n.trained + n.frozen) + 2 * n.products + m.parameters - 4 * n.frozen;
  m.freed = n.gpu || n.in_place ? 0 : 4 * n.small;
  m.reading = n.gpu ? 0 : 4 * n.largest_tensor;
  m.process = n.gpu ? kGpuProcess : kProcess;
  return m;
}

SharedBytes shared_bytes(const MemoryNeeds& n, const FitSetting& s) {
  if (n.gpu || n.ranks == 1) return {};
  const int64_t gradients = s.stage > 1 && sharers(n, s) > 1 ? 0 : has_window(n, s) ? window_bytes(n) : 4 * n.trained;
  return {gradients, s.stage == 0 ? 0 : 4 * n.trained + (shares_copy(n, s) ? 2 * n.trained_products : 0)};
}

int64_t largest_micro(const MemoryNeeds& n, const FitSetting& setting, int64_t bytes) {
  FitSetting s = setting;
  for (const int64_t micro : micros(n)) {
    s.micro = micro;
    if (predict(n, s).total() <= bytes) return micro;
  }
  return 0;
}

std::vector<Change> settings_that_fit(const MemoryNeeds& n, const FitSetting& now, int64_t bytes) {
  std::vector<Change> fitting;
  std::vector<unsigned> keys_of;
  for (unsigned keys = 0; keys < 8; ++keys) {  // bit 0: stage, 1: recompute, 2: micro; counting up is the order of costs
    const bool needless = std::any_of(keys_of.begin(), keys_of.end(), [&](unsigned fewer) { return (fewer & keys) == fewer; });
    if (needless || (keys & 2 && now.recompute == 1)) continue;
    const auto found = change(n, now, bytes, keys & 1, keys & 2, keys & 4);
    if (!found) continue;
    fitting.push_back(*found);
    keys_of.push_back(keys);
  }
  return fitting;
}

MemoryLimit memory_of_rank(bool gpu, int ranks_per_node) {
  if (!gpu) {
    const auto limit = memory_limit();
    return {limit.bytes / ranks_per_node, limit.source};
  }
  const auto gpus = visible_gpus();
  if (gpus.empty()) return {};
  const auto seen = static_cast<int>(gpus.size()), sharers = (ranks_per_node + seen - 1) / seen;
  return {gpus[0].memory / sharers, "gpu"};
}

int64_t least_memory(const MemoryNeeds& n, const FitSetting& now) {
  int64_t least = predict(n, now).total();
  auto settings = stages(n, now);
  settings.push_back(now);
  for (FitSetting s : settings)
    for (const int64_t recompute : {now.recompute, int64_t{1}})
      for (const int64_t micro : micros(n)) {
        s.recompute = recompute, s.micro = micro;
        least = std::min(least, predict(n, s).total());
      }
  return least;
}

std::string change_text(const FitSetting& now, const FitSetting& s) {
  std::string text;
  const auto add = [&](const char* key, int64_t before, int64_t after, const std::string& value) {
    if (before != after) text += (text.empty() ? "" : ", ") + std::string(key) + ": " + value;
  };
  add("engine.zero", now.stage, s.stage, std::to_string(s.stage));
  add("engine.shard_group", now.by_node, s.by_node, s.by_node ? "node" : "world");
  add("engine.recompute", now.recompute, s.recompute, "full");
  add("batch.micro", now.micro, s.micro, std::to_string(s.micro));
  return text;
}

std::string memory_warning(const MemoryNeeds& n, const FitSetting& now, int64_t bytes) {
  const int64_t needed = predict(n, now).total();
  if (bytes <= 0 || needed <= bytes) return "";
  const auto fitting = settings_that_fit(n, now, bytes);
  const std::string advice = fitting.empty() ? "no setting fits: the least needs " + gigabytes(least_memory(n, now))
                                             : change_text(now, fitting[0].setting) + " would fit";
  return "a rank needs about " + gigabytes(needed) + " of memory and has " + gigabytes(bytes) + "; " + advice;
}

}  // namespace fmtrain
