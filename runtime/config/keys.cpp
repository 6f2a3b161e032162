#include "runtime/config/keys.h"

#include <algorithm>
#include <optional>
#include <type_traits>

#include "runtime/config/scalars.h"
#include "runtime/metrics/metric.h"

namespace fmtrain {
namespace {

using Words = std::vector<std::string>;

// The words of each enum, in the order of its values.
Words words_of(Task) { return {"token-classification", "sequence-classification"}; }
Words words_of(Pooling) { return {"pooler", "cls", "mean"}; }
Words words_of(Weights) { return {"trained", "ema"}; }
Words words_of(Init) { return {"pretrained", "random"}; }
Words words_of(Format) { return {"auto", "conll", "csv", "tsv", "jsonl", "clinc150", "hdf5"}; }
Words words_of(Overlong) { return {"split", "truncate", "error"}; }
Words words_of(Order) { return {"random", "length_grouped"}; }
Words words_of(OptimizerName) { return {"adamw", "sgd", "lamb"}; }
Words words_of(ScheduleName) { return {"linear", "cosine", "constant", "inverse_sqrt", "wsd"}; }
Words words_of(Device) { return {"auto", "cpu", "cuda"}; }
Words words_of(Precision) { return {"fp32", "bf16", "fp16"}; }
Words words_of(Offload) { return {"none", "optimizer"}; }
Words words_of(ShardGroup) { return {"world", "node"}; }
Words words_of(Progress) { return {"auto", "bar", "plain", "off"}; }
Words words_of(ChallengerStart) { return {"auto", "champion", "base"}; }

// How each type of field is read from a checked value and written as YAML.
void assign(bool& field, const Value& v) { field = v.boolean; }
void assign(int64_t& field, const Value& v) { field = v.integer; }
void assign(uint64_t& field, const Value& v) { field = static_cast<uint64_t>(v.integer); }
void assign(double& field, const Value& v) { field = v.number; }
void assign(std::string& field, const Value& v) { field = v.text; }
void assign(Words& field, const Value& v) { field = v.texts; }
void assign(Every& field, const Value& v) { field.steps = v.integer; }
void assign(Segments& field, const Value& v) { field.layers = v.integer; }
template <class E, std::enable_if_t<std::is_enum_v<E>, int> = 0>
void assign(E& field, const Value& v) {
  field = static_cast<E>(v.integer);
}
template <class T>
void assign(std::optional<T>& field, const Value& v) {
  if (v.null) field.reset();
  else assign(field.emplace(), v);
}

std::string written(bool field) { return field ? "true" : "false"; }
std::string written(int64_t field) { return std::to_string(field); }
std::string written(uint64_t field) { return std::to_string(field); }
std::string written(double field) { return yaml_number(field); }
std::string written(const std::string& field) { return field.empty() ? "null" : yaml_text(field); }
std::string written(const Words& field) {
  Words list;
  for (const auto& text : field) list.push_back(yaml_text(text));
  return "[" + listed(list) + "]";
}
std::string written(Every field) { return field.steps == 0 ? "epoch" : std::to_string(field.steps); }
std::string written(Segments field) {
  return field.layers == 0 ? "none" : field.layers == 1 ? "full" : "{every: " + std::to_string(field.layers) + "}";
}
template <class E, std::enable_if_t<std::is_enum_v<E>, int> = 0>
std::string written(E field) {
  return words_of(field)[static_cast<size_t>(field)];
}
template <class T>
std::string written(const std::optional<T>& field) {
  return field ? written(*field) : "null";
}

template <class T>
struct ValueOf {
  using type = T;
};
template <class T>
struct ValueOf<std::optional<T>> {
  using type = T;
};

template <class T>
constexpr Kind kind_of() {
  if constexpr (std::is_enum_v<T>) return Kind::kWord;
  else if constexpr (std::is_same_v<T, bool>) return Kind::kBoolean;
  else if constexpr (std::is_integral_v<T>) return Kind::kInteger;
  else if constexpr (std::is_same_v<T, double>) return Kind::kNumber;
  else if constexpr (std::is_same_v<T, Words>) return Kind::kTexts;
  else if constexpr (std::is_same_v<T, Every>) return Kind::kEvery;
  else if constexpr (std::is_same_v<T, Segments>) return Kind::kSegments;
  else return Kind::kText;
}

/// A line of the table; each call adds one property.
struct Line {
  Key key;
  Line& unit(const char* name) { return key.unit = name, *this; }
  Line& range(double low, double high = kMost) { return key.low = low, key.high = high, *this; }
  Line& words(Words list) { return key.kind = Kind::kWord, key.words = std::move(list), *this; }
  Line& nullable() { return key.nullable = true, *this; }
  /// The word for an empty field besides null.
  Line& absent(const std::string& word) {
    key.words = {word};
    key.get = [get = key.get, word](const Config& c) { return get(c) == "null" ? word : get(c); };
    return *this;
  }
  Line& required(const char* example) { return key.example = example, *this; }
  /// Does not change what is computed.
  Line& free() { return key.fixes_computation = false, *this; }
  static constexpr double kMost = 9e15;  // integers up to here are exact as doubles
};

/// The field reached by `members` from a Config, as Config::model, ModelSection::path.
template <class... M>
Line key(const char* path, const char* meaning, M... members) {
  const auto field = [members...](auto& config) -> auto& { return (config.*....*members); };
  using Field = std::decay_t<decltype(field(std::declval<Config&>()))>;
  using T = typename ValueOf<Field>::type;
  Line line;
  line.key.path = path;
  line.key.kind = kind_of<T>();
  line.key.nullable = !std::is_same_v<T, Field>;
  line.key.meaning = meaning;
  line.key.set = [field](Config& c, const Value& v) { assign(field(c), v); };
  line.key.get = [field](const Config& c) { return written(field(c)); };
  if constexpr (std::is_enum_v<T>) line.key.words = words_of(T());
  if constexpr (std::is_same_v<T, Every>) line.range(1).key.words = {"epoch"};
  return line;
}

Line betas() {
  Line line;
  line.range(0, 0.999999999).key.path = "optimizer.betas";
  line.key.kind = Kind::kBetas;
  line.key.meaning = "adamw, lamb: decay of the first and the second moment";
  line.key.set = [](Config& c, const Value& v) { c.optimizer.beta1 = v.numbers[0], c.optimizer.beta2 = v.numbers[1]; };
  line.key.get = [](const Config& c) { return "[" + written(c.optimizer.beta1) + ", " + written(c.optimizer.beta2) + "]"; };
  return line;
}

std::string written_freeze(const Config& config) {
  const auto& f = config.finetune;
  if (f.freeze_backbone) return "backbone";
  if (f.freeze_embeddings || f.freeze_layers > 0)
    return "{embeddings: " + written(f.freeze_embeddings) + ", layers: " + written(f.freeze_layers) + "}";
  if (f.patterns.empty()) return "none";
  return written(f.patterns);
}

Line freeze() {
  Line line;
  line.key.path = "finetune.freeze";
  line.key.kind = Kind::kFreeze;
  line.key.meaning = "none, backbone, {embeddings: true, layers: 3}, or a list of name patterns with * and ?";
  line.key.words = {"none", "backbone"};
  line.key.set = [](Config& c, const Value& v) { static_cast<Freeze&>(c.finetune) = v.freeze; };
  line.key.get = written_freeze;
  return line;
}

using C = Config;
using Run = RunSection;
using Model = ModelSection;
using Data = DataSection;
using Optim = OptimizerSection;
using Sched = ScheduleSection;
using Eval = EvaluateSection;
using Eng = EngineSection;

std::vector<Line> run_keys() {
  return {
      key("run.dir", "where the run is written; null: runs/NAME, NAME being the config file's", &C::run, &Run::dir)
          .nullable()
          .free(),
      key("run.seed", "fixes the order of samples, new heads, every dropout bit", &C::run, &Run::seed).range(0),
      key("run.time_limit", "the run saves and stops with exit code 75 before it; null: none", &C::run, &Run::time_limit)
          .unit("seconds")
          .range(1)
          .free(),
  };
}

std::vector<Line> model_keys() {
  const auto dropout = [](const char* path, const char* meaning, double DropoutRates::*member) {
    return key(path, meaning, &C::model, &Model::dropout, member).range(0, 0.99);
  };
  return {
      key("model.path", "model directory, or a name in the model cache", &C::model, &Model::path)
          .required("all-MiniLM-L6-v2")
          .free(),
      key("model.task", "what the head predicts", &C::model, &Model::task),
      key("model.pooling", "sequence tasks: what the head reads", &C::model, &Model::pooling),
      dropout("model.dropout.hidden", "probability after the embeddings and each sub-layer", &DropoutRates::hidden),
      dropout("model.dropout.attention", "probability on attention weights", &DropoutRates::attention),
      dropout("model.dropout.head", "probability before the head", &DropoutRates::head),
      key("model.init", "random needs config.json and a tokenizer, no weights", &C::model, &Model::init),
  };
}

std::vector<Line> data_keys() {
  const auto column = [](const char* path, const char* meaning, auto member) {
    return key(path, meaning, &C::data, &Data::columns, member);
  };
  return {
      key("data.train", "training set: raw text or a prepared .h5", &C::data, &Data::train)
          .required("../data/wnut17/train.conll")
          .free(),
      key("data.validation", "chooses the best model; null: none", &C::data, &Data::validation).nullable().free(),
      key("data.test", "scored before and after the training; null: none", &C::data, &Data::test).nullable().free(),
      key("data.format", "of raw files; auto: by task and name", &C::data, &Data::format),
      column("data.columns.text", "csv, tsv, jsonl: column or member with the text", &Columns::text),
      column("data.columns.label", "csv, tsv, jsonl: column or member with the label", &Columns::label),
      column("data.columns.word", "conll: number of the word's column; negative: from the end", &Columns::word)
          .range(-4096, 4095),
      column("data.columns.tag", "conll: number of the tag's column; negative: from the end", &Columns::tag).range(-4096, 4095),
      key("data.max_length", "longest sample, special tokens included", &C::data, &Data::max_length)
          .unit("tokens")
          .range(4, 1048576),
      key("data.overlong", "longer texts; split is for tagging, classification truncates", &C::data, &Data::overlong),
      key("data.order", "length_grouped puts similar lengths into one step", &C::data, &Data::order),
      key("data.limit", "first training samples only; null: all", &C::data, &Data::limit).unit("samples").range(1),
  };
}

std::vector<Line> training_keys() {
  return {
      key("batch.global", "one update", &C::batch, &BatchSection::global).unit("samples").range(1, 1 << 20),
      key("batch.micro", "one leaf; the ranks share global / micro leaves", &C::batch, &BatchSection::micro)
          .unit("samples")
          .range(1, 1 << 20),
      key("optimizer.name", "update rule", &C::optimizer, &Optim::name),
      key("optimizer.lr", "peak learning rate", &C::optimizer, &Optim::lr).range(0, 100),
      key("optimizer.weight_decay", "not applied to biases and norm weights", &C::optimizer, &Optim::weight_decay).range(0, 10),
      betas(),
      key("optimizer.eps", "adamw, lamb: added to the root of the second moment", &C::optimizer, &Optim::eps).range(1e-16, 1),
      key("optimizer.momentum", "sgd: share of the last step kept", &C::optimizer, &Optim::momentum).range(0, 0.999999999),
      key("optimizer.clip_norm", "largest global norm of the gradient; 0: no clipping", &C::optimizer, &Optim::clip_norm)
          .range(0),
      key("optimizer.layer_decay", "learning rate of a layer, as a share of that of the layer above; 1: all alike", &C::optimizer,
          &Optim::layer_decay)
          .range(0.001, 1),
      key("optimizer.ema", "decay of an exponential moving average of the weights, e.g. 0.999; 0: no average", &C::optimizer, &Optim::ema)
          .range(0, 0.999999999),
      key("schedule.name", "learning rate over the run", &C::schedule, &Sched::name),
      key("schedule.warmup", "below 1: share of all steps, else steps", &C::schedule, &Sched::warmup).range(0),
      key("schedule.epochs", "passes over the training set", &C::schedule, &Sched::epochs).unit("epochs").range(0.001, 1e6),
      key("schedule.steps", "updates; overrides epochs", &C::schedule, &Sched::steps).unit("steps").range(1),
      freeze(),
      key("finetune.unfreeze_every", "the head is trained first, then every epoch or n steps the next layer down too; null: all at once",
          &C::finetune, &FinetuneSection::unfreeze_every)
          .unit("steps"),
      key("finetune.l2_start", "pull of the backbone towards its first weights, in place of weight_decay there; 0: none",
          &C::finetune, &FinetuneSection::l2_start)
          .range(0, 1000),
  };
}

std::vector<Line> system_keys() {
  return {
      key("evaluate.every", "at the end of every epoch, or every n steps", &C::evaluate, &Eval::every).unit("steps"),
      key("evaluate.metric", "chooses the best model", &C::evaluate, &Eval::metric).words(metric_names()),
      key("evaluate.weights", "that are evaluated and become the model; ema: those of optimizer.ema", &C::evaluate, &Eval::weights),
      key("evaluate.early_stop.patience", "evaluations without gain before the run stops; null: never", &C::evaluate,
          &Eval::patience)
          .range(1),
      key("evaluate.early_stop.min_delta", "smallest gain that counts", &C::evaluate, &Eval::min_delta).range(0),
      key("checkpoint.every", "at the end of every epoch, or every n steps", &C::checkpoint, &CheckpointSection::every)
          .unit("steps")
          .free(),
      key("checkpoint.seconds", "longest time between two, however long an epoch is", &C::checkpoint, &CheckpointSection::seconds)
          .unit("seconds")
          .range(1)
          .free(),
      key("checkpoint.keep", "checkpoints kept besides the best", &C::checkpoint, &CheckpointSection::keep)
          .range(1, 1e6)
          .free(),
      key("checkpoint.async", "write while the next steps run", &C::checkpoint, &CheckpointSection::async).free(),
      key("engine.device", "auto: a GPU if there is one", &C::engine, &Eng::device).free(),
      key("engine.zero", "what ranks share out, ZeRO: 1 optimizer state, 2 and gradients, 3 and parameters; 0: nothing", &C::engine,
          &Eng::zero)
          .range(0, 3)
          .free(),
      key("engine.shard_group", "who shares that out: world: all ranks; node: those of a host, and every host has a copy", &C::engine,
          &Eng::shard_group)
          .free(),
      key("engine.precision", "bf16, fp16: of products; weights and sums in fp32; fp16 is for GPUs", &C::engine, &Eng::precision),
      key("engine.offload", "GPUs: optimizer keeps its state in host memory and updates there", &C::engine, &Eng::offload).free(),
      key("engine.recompute", "activations computed again in backward: none, full (every layer), or {every: k} layers", &C::engine,
          &Eng::recompute)
          .free(),
      key("engine.threads", "of a rank; auto: the node's cores shared by its ranks", &C::engine, &Eng::threads)
          .range(1, 4096)
          .absent("auto")
          .free(),
      key("numerics.exact", "same bits for every number of ranks; false: the fastest sum", &C::numerics,
          &NumericsSection::exact),
      key("report.progress", "on rank 0; auto: a bar on a terminal, else plain lines", &C::report, &ReportSection::progress)
          .free(),
      key("report.tensorboard", "write TensorBoard events", &C::report, &ReportSection::tensorboard).free(),
      key("report.bootstrap", "resamples for confidence intervals; 0: none", &C::report, &ReportSection::bootstrap)
          .range(0, 1e6)
          .free(),
  };
}

/// None of them changes what one run computes.
std::vector<Line> continual_keys() {
  using S = ContinualSection;
  const auto c = [](const char* path, const char* meaning, auto... members) { return key(path, meaning, &C::continual, members...); };
  return {
      c("continual.registry", "directory of the model's versions; null: the config is of one run only", &S::registry).nullable(),
      c("continual.incoming", "directory where new files are dropped; null: incoming in the registry", &S::incoming).nullable(),
      c("continual.schedule", "daily, weekly, manual, or cron's five fields, UTC", &S::schedule),
      c("continual.window", "newest texts that are tested for drift; at most so many in a rolling test", &S::window)
          .unit("texts").range(500, 100000),
      c("continual.drift.alpha", "of the permutation test", &S::drift, &S::Drift::alpha).range(0.0001, 0.5),
      c("continual.drift.permutations", "of the test, at least 1 / alpha - 1", &S::drift, &S::Drift::permutations).range(1, 100000),
      c("continual.drift.consecutive", "windows in a row that must drift before it is an alarm", &S::drift, &S::Drift::consecutive)
          .unit("windows").range(1, 10),
      c("continual.replay.share", "older texts among a cycle's training texts", &S::replay, &S::Replay::share).range(0, 0.95),
      c("continual.replay.capacity", "older texts kept to draw from", &S::replay, &S::Replay::capacity).unit("texts").range(1, 1e7),
      c("continual.gate.core_margin", "that the challenger may lose on the frozen test set and on slices", &S::gate,
        &S::Gate::core_margin).range(0, 0.5),
      c("continual.gate.slices", "label=NAME, words>=N, words<N, contains=WORD: parts of the tests that are judged apart",
        &S::gate, &S::Gate::slices),
      c("continual.gate.bootstrap", "resamples of the paired bootstrap", &S::gate, &S::Gate::bootstrap).range(100, 1e6),
      c("continual.gate.latency", "a text may take; null: no limit", &S::gate, &S::Gate::latency).unit("milliseconds").range(0.001),
      c("continual.gate.size", "weights may have; null: no limit", &S::gate, &S::Gate::size).unit("MB").range(0.001),
      c("continual.brakes.min_hours", "between the starts of two cycles", &S::brakes, &S::Brakes::min_hours).unit("hours").range(0, 1e5),
      c("continual.brakes.max_per_week", "cycles within seven days", &S::brakes, &S::Brakes::max_per_week).range(1, 1e4),
      c("continual.brakes.cooldown_hours", "after the start of a cycle whose challenger was rejected", &S::brakes,
        &S::Brakes::cooldown_hours).unit("hours").range(0, 1e5),
      c("continual.challenger.from", "auto: the champion, but every fifth cycle the base model on all texts", &S::challenger,
        &S::Challenger::from),
      c("continual.challenger.lr_scale", "of optimizer.lr, for training from the champion", &S::challenger, &S::Challenger::lr_scale)
          .range(0.0001, 10),
      c("continual.challenger.warmup", "as schedule.warmup, for training from the champion", &S::challenger,
        &S::Challenger::warmup).range(0),
      c("continual.challenger.l2_start", "as finetune.l2_start, for training from the champion", &S::challenger,
        &S::Challenger::l2_start).range(0, 1000),
  };
}

std::vector<Key> make_keys() {
  std::vector<Key> keys;
  for (const auto& part : {run_keys(), model_keys(), data_keys(), training_keys(), system_keys()})
    for (const auto& line : part) keys.push_back(line.key);
  for (auto& line : continual_keys()) keys.push_back(line.free().key);
  return keys;
}

}  // namespace

const std::vector<Key>& config_keys() {
  static const std::vector<Key> keys = make_keys();
  return keys;
}

const Key* find_key(const std::string& path) {
  const auto& keys = config_keys();
  const auto found = std::find_if(keys.begin(), keys.end(), [&](const Key& k) { return k.path == path; });
  return found == keys.end() ? nullptr : &*found;
}

std::vector<std::string> names_below(const std::string& path) {
  std::vector<std::string> names;
  const std::string prefix = path.empty() ? "" : path + ".";
  for (const auto& k : config_keys()) {
    if (k.path.compare(0, prefix.size(), prefix) != 0) continue;
    const auto name = k.path.substr(prefix.size(), k.path.find('.', prefix.size()) - prefix.size());
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

std::string listed(const std::vector<std::string>& words, const char* between) {
  std::string out;
  for (const auto& w : words) out += (out.empty() ? "" : between) + w;
  return out;
}

}  // namespace fmtrain
