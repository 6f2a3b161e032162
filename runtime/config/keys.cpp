#include "runtime/config/keys.h"

#include <charconv>

namespace fmtrain {
namespace {

template <class E>
struct Words;  // the words of an enum, in the order of its values
template <> struct Words<Task> { static inline const std::vector<std::string> list{"token-classification", "sequence-classification"}; };
template <> struct Words<Pooling> { static inline const std::vector<std::string> list{"pooler", "cls", "mean"}; };
template <> struct Words<Init> { static inline const std::vector<std::string> list{"pretrained", "random"}; };
template <> struct Words<Format> { static inline const std::vector<std::string> list{"auto", "conll", "csv", "tsv", "jsonl", "clinc150", "hdf5"}; };
template <> struct Words<Overlong> { static inline const std::vector<std::string> list{"split", "truncate", "error"}; };
template <> struct Words<Order> { static inline const std::vector<std::string> list{"random", "length_grouped"}; };
template <> struct Words<OptimizerName> { static inline const std::vector<std::string> list{"adamw", "sgd"}; };
template <> struct Words<ScheduleName> { static inline const std::vector<std::string> list{"linear", "cosine", "constant", "inverse_sqrt", "wsd"}; };
template <> struct Words<Device> { static inline const std::vector<std::string> list{"auto", "cpu", "cuda"}; };
template <> struct Words<Precision> { static inline const std::vector<std::string> list{"fp32", "bf16"}; };
template <> struct Words<Progress> { static inline const std::vector<std::string> list{"auto", "bar", "plain", "off"}; };

constexpr double kMax = 9e15;  // integers up to here are exact as doubles

/// Access to a field of a section: `f` maps a Config& to a reference.
template <class F>
Key integer(const char* path, F f, const char* meaning, double low, double high = kMax) {
  return {path, Kind::kInteger, meaning, [f](Config& c, const Value& v) { f(c) = static_cast<std::decay_t<decltype(f(c))>>(v.integer); },
          [f](const Config& c) { return std::to_string(f(const_cast<Config&>(c))); }, {}, low, high};
}
template <class F>
Key number(const char* path, F f, const char* meaning, double low, double high = kMax) {
  return {path, Kind::kNumber, meaning, [f](Config& c, const Value& v) { f(c) = v.number; }, [f](const Config& c) { return yaml_number(f(const_cast<Config&>(c))); }, {}, low, high};
}
template <class F>
Key optional_integer(const char* path, F f, const char* meaning, double low, const char* word) {
  Key key{path, Kind::kInteger, meaning, [f](Config& c, const Value& v) { v.null ? f(c).reset() : void(f(c) = v.integer); },
          [f, word](const Config& c) { const auto& x = f(const_cast<Config&>(c)); return x ? std::to_string(*x) : std::string(word); }, {}, low, kMax, true};
  if (std::string(word) != "null") key.words = {word};
  return key;
}
template <class F>
Key boolean(const char* path, F f, const char* meaning) {
  return {path, Kind::kBoolean, meaning, [f](Config& c, const Value& v) { f(c) = v.boolean; }, [f](const Config& c) { return f(const_cast<Config&>(c)) ? "true" : "false"; }, {}};
}
template <class F>
Key text(const char* path, F f, const char* meaning, bool nullable = false) {
  return {path, Kind::kText, meaning, [f](Config& c, const Value& v) { f(c) = v.text; },
          [f](const Config& c) { const auto& x = f(const_cast<Config&>(c)); return x.empty() ? "null" : yaml_text(x); }, {}, 0, 0, nullable};
}
template <class E, class F>
Key word(const char* path, F f, const char* meaning) {
  return {path, Kind::kWord, meaning, [f](Config& c, const Value& v) { f(c) = static_cast<E>(v.integer); },
          [f](const Config& c) { return Words<E>::list[static_cast<size_t>(f(const_cast<Config&>(c)))]; }, Words<E>::list};
}
template <class F>
Key every(const char* path, F f, const char* meaning) {
  return {path, Kind::kEvery, meaning, [f](Config& c, const Value& v) { f(c).steps = v.integer; },
          [f](const Config& c) { const auto n = f(const_cast<Config&>(c)).steps; return n == 0 ? "epoch" : std::to_string(n); }, {"epoch"}, 1, kMax};
}

Key free_of_bits(Key key) {
  key.fixes_computation = false;
  return key;
}
Key required(Key key) {
  key.required = true;
  return key;
}

std::string freeze_text(const Config& c) {
  const auto& f = c.finetune;
  if (f.freeze_backbone) return "backbone";
  if (f.freeze_embeddings || f.freeze_layers > 0) return std::string("{embeddings: ") + (f.freeze_embeddings ? "true" : "false") + ", layers: " + std::to_string(f.freeze_layers) + "}";
  if (f.patterns.empty()) return "none";
  std::string list;
  for (const auto& p : f.patterns) list += (list.empty() ? "[" : ", ") + yaml_text(p);
  return list + "]";
}

Key time_limit() {
  return {"run.time_limit", Kind::kNumber, "seconds after which the run saves its state and stops with exit code 75; null: none",
          [](Config& c, const Value& v) { v.null ? c.run.time_limit.reset() : void(c.run.time_limit = v.number); },
          [](const Config& c) { return c.run.time_limit ? yaml_number(*c.run.time_limit) : std::string("null"); }, {}, 1, kMax, true};
}

#define FIELD(expression) [](Config& c) -> auto& { return c.expression; }

std::vector<Key> make_keys() {
  return {
      free_of_bits(text("run.dir", FIELD(run.dir), "run directory; null: runs/NAME, NAME being the config file's name", true)),
      integer("run.seed", FIELD(run.seed), "fixes the order of the samples, new heads and every dropout bit", 0),
      free_of_bits(time_limit()),
      required(text("model.path", FIELD(model.path), "model directory, or a name in the model cache")),
      word<Task>("model.task", FIELD(model.task), "what the head predicts"),
      word<Pooling>("model.pooling", FIELD(model.pooling), "sequence tasks: what the head reads (pooler: as BertForSequenceClassification)"),
      number("model.dropout.hidden", FIELD(model.dropout.hidden), "probability after embeddings and after each sub-layer", 0, 0.99),
      number("model.dropout.attention", FIELD(model.dropout.attention), "probability on attention weights", 0, 0.99),
      number("model.dropout.head", FIELD(model.dropout.head), "probability before the head", 0, 0.99),
      word<Init>("model.init", FIELD(model.init), "random needs only config.json and a tokenizer (tests, benchmarks)"),
      required(free_of_bits(text("data.train", FIELD(data.train), "training set: raw text or a prepared .h5"))),
      free_of_bits(text("data.validation", FIELD(data.validation), "chooses the best model and stops early; null: none", true)),
      free_of_bits(text("data.test", FIELD(data.test), "scored before the first and after the last step; null: none", true)),
      word<Format>("data.format", FIELD(data.format), "format of the raw files; auto: from task and file name"),
      text("data.columns.text", FIELD(data.columns.text), "csv, tsv, jsonl: column or member with the text"),
      text("data.columns.label", FIELD(data.columns.label), "csv, tsv, jsonl: column or member with the label"),
      integer("data.columns.word", FIELD(data.columns.word), "conll: column of the word; negative: from the end", -4096, 4095),
      integer("data.columns.tag", FIELD(data.columns.tag), "conll: column of the tag; negative: from the end", -4096, 4095),
      integer("data.max_length", FIELD(data.max_length), "tokens of a sample with its special tokens", 4, 1048576),
      word<Overlong>("data.overlong", FIELD(data.overlong), "longer texts: tagging splits them between spans, classification truncates"),
      word<Order>("data.order", FIELD(data.order), "order of the samples; length_grouped puts similar lengths into one step"),
      optional_integer("data.limit", FIELD(data.limit), "first n training samples only; null: all", 1, "null"),
      integer("batch.global", FIELD(batch.global), "samples of one update", 1, 1 << 20),
      integer("batch.micro", FIELD(batch.micro), "samples of one leaf; global / micro leaves are shared by the ranks", 1, 1 << 20),
      word<OptimizerName>("optimizer.name", FIELD(optimizer.name), "update rule"),
      number("optimizer.lr", FIELD(optimizer.lr), "peak learning rate", 0, 100),
      number("optimizer.weight_decay", FIELD(optimizer.weight_decay), "not applied to biases and norm weights", 0, 10),
      {"optimizer.betas", Kind::kBetas, "adamw: decay of the two moments",
       [](Config& c, const Value& v) { c.optimizer.beta1 = v.numbers[0]; c.optimizer.beta2 = v.numbers[1]; },
       [](const Config& c) { return "[" + yaml_number(c.optimizer.beta1) + ", " + yaml_number(c.optimizer.beta2) + "]"; }, {}, 0, 0.999999999},
      number("optimizer.eps", FIELD(optimizer.eps), "adamw: added to the root of the second moment", 0, 1),
      number("optimizer.momentum", FIELD(optimizer.momentum), "sgd", 0, 0.999999999),
      number("optimizer.clip_norm", FIELD(optimizer.clip_norm), "largest global norm of the gradient; 0: no clipping", 0),
      word<ScheduleName>("schedule.name", FIELD(schedule.name), "learning rate over the run"),
      number("schedule.warmup", FIELD(schedule.warmup), "below 1: share of all steps, else steps", 0),
      number("schedule.epochs", FIELD(schedule.epochs), "passes over the training set", 0.000001, 1e6),
      optional_integer("schedule.steps", FIELD(schedule.steps), "updates; overrides epochs", 1, "null"),
      {"finetune.freeze", Kind::kFreeze, "none, backbone, {embeddings: true, layers: 3}, or a list of name patterns with * and ?",
       [](Config& c, const Value& v) { c.finetune = v.freeze; }, freeze_text, {"none", "backbone"}},
      every("evaluate.every", FIELD(evaluate.every), "epoch, or a number of steps"),
      text("evaluate.metric", FIELD(evaluate.metric), "chooses the best model: f1, accuracy, macro_f1, precision, recall, loss; auto: f1 for tagging, else accuracy"),
      optional_integer("evaluate.early_stop.patience", FIELD(evaluate.patience), "evaluations without gain before the run stops; null: never", 1, "null"),
      number("evaluate.early_stop.min_delta", FIELD(evaluate.min_delta), "smallest gain that counts", 0),
      free_of_bits(every("checkpoint.every", FIELD(checkpoint.every), "epoch, or a number of steps")),
      free_of_bits(integer("checkpoint.keep", FIELD(checkpoint.keep), "checkpoints kept besides the best", 1, 1000000)),
      free_of_bits(boolean("checkpoint.async", FIELD(checkpoint.async), "write while the next steps run")),
      free_of_bits(word<Device>("engine.device", FIELD(engine.device), "where the model runs; auto: a GPU if there is one")),
      free_of_bits(integer("engine.zero", FIELD(engine.zero), "0: parameters and optimizer state whole on every rank", 0, 3)),
      word<Precision>("engine.precision", FIELD(engine.precision), "bf16: products in bf16, weights and sums in fp32"),
      free_of_bits(text("engine.recompute", FIELD(engine.recompute), "none: activations are kept for backward")),
      free_of_bits(optional_integer("engine.threads", FIELD(engine.threads), "threads of a rank; auto: the node's free cores over its ranks", 1, "auto")),
      boolean("numerics.exact", FIELD(numerics.exact), "same bits for every number of ranks; false: the backend's own order of additions"),
      free_of_bits(word<Progress>("report.progress", FIELD(report.progress), "progress on rank 0; auto: a bar on a terminal, else plain lines")),
      free_of_bits(boolean("report.tensorboard", FIELD(report.tensorboard), "write TensorBoard events")),
      free_of_bits(integer("report.bootstrap", FIELD(report.bootstrap), "resamples for confidence intervals; 0: none", 0, 1000000)),
  };
}
#undef FIELD

}  // namespace

const std::vector<Key>& config_keys() {
  static const std::vector<Key> keys = make_keys();
  return keys;
}

std::string yaml_number(double value) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return {buffer, end};
}

std::string yaml_text(const std::string& text) {
  const bool plain = !text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./") == std::string::npos &&
                     (std::isalpha(static_cast<unsigned char>(text[0])) || text[0] == '/' || text[0] == '.') && text != "null" && text != "true" && text != "false";
  if (plain) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace fmtrain
