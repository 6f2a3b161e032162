#include "tests/unit/config/random_config.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "runtime/config/keys.h"

namespace fmtrain {
namespace {

using Values = std::map<std::string, std::string>;

class Maker {
 public:
  Maker(std::mt19937_64& random, const std::vector<std::string>& files) : random_(random), files_(files) {}

  Values values() {
    Values v;
    for (const auto& key : config_keys())
      if (key.example.empty() && flip()) v[key.path] = value(key);
    v["data.train"] = text(one_of(files_));
    if (v.count("data.test")) v["data.test"] = text(one_of(files_));
    agree(v);
    return v;
  }

 private:
  int64_t below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  bool flip() { return below(2) == 1; }
  template <class T>
  const T& one_of(const std::vector<T>& list) {
    return list[static_cast<size_t>(below(static_cast<int64_t>(list.size())))];
  }

  /// In double quotes, as any text may be written.
  static std::string text(const std::string& raw) {
    std::string out = "\"";
    for (const char c : raw) out += (c == '"' || c == '\\' ? "\\" : "") + std::string(1, c);
    return out + "\"";
  }

  std::string odd_text() {
    static const std::vector<std::string> letters{
        "a", "Z", "0", "9", " ", ":", "#", "&", "*", "!", "|", ">", "'", "\"", "%", "@",      "`",      "\\",     "{",
        "}", "[", "]", ",", "?", "-", "~", "=", "<", ".", "/", "e", "ü", "中", "😀", "\u00a0", "\u2028", "\ufeff", "\u200b"};
    std::string raw;
    for (int64_t n = 1 + below(8); n > 0; --n) raw += one_of(letters);
    return text(raw);
  }

  std::string integer(const Key& key) {
    const auto low = static_cast<int64_t>(key.low), span = static_cast<int64_t>(key.high - key.low) + 1;
    return std::to_string(flip() ? low + below(std::min<int64_t>(span, 100)) : low + below(span));
  }

  /// Any bits of the mantissa, any size that the key allows.
  std::string number(const Key& key) {
    const double unit = std::ldexp(static_cast<double>(random_() >> 11), -53),
                 small = std::pow(10.0, -static_cast<double>(below(18)));
    char buffer[40];
    std::snprintf(buffer, sizeof buffer, "%.17g",
                  std::max(key.low, std::min(key.high, unit * small * std::min(key.high, 1e6))));
    return buffer;
  }

  std::string freeze() {
    switch (below(4)) {
      case 0:
        return "none";
      case 1:
        return "backbone";
      case 2:
        return "{embeddings: " + std::string(flip() ? "true" : "false") + ", layers: " + std::to_string(below(100001)) + "}";
      default:
        return "[" + odd_text() + ", " + odd_text() + "]";
    }
  }

  std::string value(const Key& key) {
    if (key.nullable && below(4) == 0) return "null";
    switch (key.kind) {
      case Kind::kBoolean:
        return flip() ? "true" : "false";
      case Kind::kInteger:
        return integer(key);
      case Kind::kNumber:
        return number(key);
      case Kind::kWord:
        return one_of(key.words);
      case Kind::kSegments:
        return one_of(std::vector<std::string>{"none", "full", "{every: 3}"});
      case Kind::kEvery:
        return flip() ? "epoch" : integer(key);
      case Kind::kBetas:
        return "[" + number(key) + ", " + number(key) + "]";
      case Kind::kFreeze:
        return freeze();
      case Kind::kTexts:
        return flip() ? "[]" : "[" + odd_text() + ", " + odd_text() + "]";
      default:
        return odd_text();
    }
  }

  /// The rules between keys.
  void agree(Values& v) {
    if (v.count("engine.device") && v["engine.device"] == "cpu") v.erase("engine.offload");
    const int64_t micro = 1 + below(64);
    v["batch.micro"] = std::to_string(micro);
    v["batch.global"] = std::to_string(micro * (1 + below(64)));
    if (flip()) v["schedule.warmup"] = std::to_string(1 + below(50));
    else v["schedule.warmup"] = "0." + std::to_string(1 + below(999));
    if (v.count("schedule.steps")) v["schedule.steps"] = std::to_string(50 + below(1000000));
    const bool tagging = flip();
    v["model.task"] = tagging ? "token-classification" : "sequence-classification";
    if (tagging) v.erase("model.pooling");
    v["data.format"] = one_of(std::vector<std::string>{"auto", "hdf5", tagging ? "conll" : "csv"});
    v.erase("data.validation");
    if (v.count("optimizer.ema")) v["optimizer.ema"] = "0." + std::to_string(1 + below(998));
    else v.erase("evaluate.weights");
    if (v.count("finetune.freeze") && v["finetune.freeze"] == "backbone") v.erase("finetune.unfreeze_every");
    if (v.count("optimizer.lr") || (v.count("finetune.freeze") && v["finetune.freeze"] == "backbone")) v.erase("finetune.l2_start");
    v["continual.schedule"] = one_of(std::vector<std::string>{"daily", "manual", "\"30 2 * * mon-fri\""});
    v["continual.drift.permutations"] = "10000";
    if (v.count("evaluate.early_stop.patience") || flip()) v["data.validation"] = text(one_of(files_));
  }

  std::mt19937_64& random_;
  const std::vector<std::string>& files_;
};

}  // namespace

std::vector<std::string> random_overrides(std::mt19937_64& random, const std::vector<std::string>& files) {
  std::vector<std::string> list;
  for (const auto& [key, value] : Maker(random, files).values()) list.push_back(key + "=" + value);
  return list;
}

}  // namespace fmtrain
