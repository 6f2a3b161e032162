#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "runtime/config/keys.h"
#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/text/utf8.h"

namespace fmtrain {
void cross_check(Config& config, const std::string& folder, std::vector<std::string>& faults);  // cross_check.cpp
namespace {

constexpr size_t kMaxBytes = 1u << 20;
constexpr int kMaxDepth = 32;

std::string place(const std::string& file, const YAML::Mark& mark) {
  return file + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1);
}

/// Anchors, aliases, tags and depth, seen before any node is built.
class Gate final : public YAML::EventHandler {
 public:
  Gate(const std::string& file, std::vector<std::string>& faults) : file_(file), faults_(faults) {}
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { look(mark, "", anchor); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { fault(mark, "aliases (*name) are not allowed"); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string&) override { look(mark, tag, anchor); }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override { enter(mark, tag, anchor); }
  void OnSequenceEnd() override { --depth_; }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override { enter(mark, tag, anchor); }
  void OnMapEnd() override { --depth_; }

 private:
  void enter(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    look(mark, tag, anchor);
    if (++depth_ > kMaxDepth) throw ConfigError(place(file_, mark) + ": nested deeper than 32 levels");
  }
  void look(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) fault(mark, "anchors (&name) are not allowed");
    if (!tag.empty() && tag != "?" && tag != "!") fault(mark, "tags (!name) are not allowed");
  }
  void fault(const YAML::Mark& mark, const std::string& what) { faults_.push_back(place(file_, mark) + ": " + what); }
  const std::string& file_;
  std::vector<std::string>& faults_;
  int depth_ = 0;
};

/// Levenshtein distance.
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 1; j <= b.size(); ++j) diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])}));
  }
  return row.back();
}

std::string suggestion(const std::string& written, const std::vector<std::string>& known) {
  const auto best = std::min_element(known.begin(), known.end(), [&](const auto& a, const auto& b) { return distance(written, a) < distance(written, b); });
  return best != known.end() && distance(written, *best) <= std::max<size_t>(2, written.size() / 3) ? " (did you mean " + *best + "?)" : "";
}

std::string listed(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& w : words) out += (out.empty() ? "" : ", ") + w;
  return out;
}

/// A number written plainly: no leading zeros, no underscores, no inf or nan.
template <class T>
bool parse_number(const std::string& text, T* value) {
  const size_t digits = text.size() > 1 && text[0] == '-' ? 1 : 0;
  if (text.size() > digits + 1 && text[digits] == '0' && std::isdigit(static_cast<unsigned char>(text[digits + 1]))) return false;
  if (text.empty() || !(std::isdigit(static_cast<unsigned char>(text[digits])) || text[digits] == '.')) return false;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), *value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

class Reader {
 public:
  Reader(Config& config, std::vector<std::string>& faults) : config_(config), faults_(faults) {}

  /// Every leaf of `node` below `path`; `origin` is a file, or "--set".
  void walk(const YAML::Node& node, const std::string& path, const std::string& origin) {
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "?";
      const std::string full = path.empty() ? name : path + "." + name;
      const std::string at = origin == "--set" ? origin : place(origin, entry.first.Mark());
      if (!seen.insert(name).second) fault(at, full, "is written twice");
      else member(entry.second, full, at, origin);
    }
  }

  void missing() {
    for (const auto& key : config_keys())
      if (key.required && !given_.count(key.path)) faults_.push_back(key.path + ": is required (" + key.meaning + ")");
  }

 private:
  void fault(const std::string& at, const std::string& path, const std::string& what) { faults_.push_back(at + ": " + path + ": " + what); }

  static std::vector<std::string> names_below(const std::string& path) {
    std::set<std::string> names;
    const std::string prefix = path.empty() ? "" : path + ".";
    for (const auto& key : config_keys())
      if (key.path.compare(0, prefix.size(), prefix) == 0) names.insert(key.path.substr(prefix.size(), key.path.find('.', prefix.size()) - prefix.size()));
    return {names.begin(), names.end()};
  }

  void member(const YAML::Node& node, const std::string& path, const std::string& at, const std::string& origin) {
    const auto& keys = config_keys();
    const auto key = std::find_if(keys.begin(), keys.end(), [&](const Key& k) { return k.path == path; });
    if (key != keys.end()) return leaf(*key, node, at, origin);
    if (names_below(path).empty()) {
      const auto dot = path.rfind('.');
      const std::string parent = dot == std::string::npos ? "" : path.substr(0, dot), name = path.substr(dot + 1);
      return fault(at, path, "unknown key" + suggestion(name, names_below(parent)));
    }
    if (node.IsNull()) return;
    if (!node.IsMap()) return fault(at, path, "must be a group of keys: " + listed(names_below(path)));
    walk(node, path, origin);
  }

  void leaf(const Key& key, const YAML::Node& node, const std::string& at, const std::string& origin) {
    const std::string where = origin == "--set" ? at : place(origin, node.Mark());
    Value value;
    const std::string wrong = read(key, node, value);
    if (!wrong.empty()) return fault(where, key.path, wrong);
    if (!value.null || key.kind != Kind::kText) key.set(config_, value);
    given_.insert(key.path);
    config_.origin[key.path] = where;
  }

  /// Fills `value`; returns what is wrong, or nothing.
  static std::string read(const Key& key, const YAML::Node& node, Value& value) {
    const bool empty_word = node.IsScalar() && key.nullable && std::count(key.words.begin(), key.words.end(), node.Scalar()) > 0;
    if (node.IsNull() || empty_word) {
      value.null = true;
      return key.nullable ? "" : "must not be empty";
    }
    if (key.kind == Kind::kFreeze) return read_freeze(node, value);
    if (key.kind == Kind::kBetas) return read_betas(key, node, value);
    if (!node.IsScalar()) return "must be a single value";
    const std::string text = node.Scalar();
    switch (key.kind) {
      case Kind::kInteger: return read_integer(key, text, value);
      case Kind::kNumber: return read_double(key, text, value.number);
      case Kind::kEvery:
        if (text == "epoch") return "";
        return read_integer(key, text, value).empty() ? "" : "must be epoch or a number of steps, not " + quoted(text);
      case Kind::kBoolean:
        value.boolean = text == "true";
        return text == "true" || text == "false" ? "" : "must be true or false, not " + quoted(text);
      case Kind::kWord: return read_word(key, text, value);
      default:
        value.text = text;
        for (const char c : text)
          if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return "holds a control character";
        return "";
    }
  }

  static std::string range(const Key& key) {
    const auto limit = [](double x) { return std::abs(x) < 9e15 ? yaml_number(x) : std::string(); };
    if (limit(key.high).empty()) return "must be at least " + limit(key.low);
    return "must be between " + limit(key.low) + " and " + limit(key.high);
  }

  static std::string read_integer(const Key& key, const std::string& text, Value& value) {
    if (!parse_number(text, &value.integer)) return "must be a whole number, not " + quoted(text);
    const auto x = static_cast<double>(value.integer);
    return x < key.low || x > key.high ? range(key) + ", not " + text : "";
  }

  static std::string read_double(const Key& key, const std::string& text, double& value) {
    if (!parse_number(text, &value)) return "must be a number, not " + quoted(text);
    return value < key.low || value > key.high ? range(key) + ", not " + text : "";
  }

  static std::string read_word(const Key& key, const std::string& text, Value& value) {
    const auto found = std::find(key.words.begin(), key.words.end(), text);
    value.integer = found - key.words.begin();
    return found != key.words.end() ? "" : "must be one of " + listed(key.words) + ", not " + quoted(text) + suggestion(text, key.words);
  }

  static std::string read_betas(const Key& key, const YAML::Node& node, Value& value) {
    if (!node.IsSequence() || node.size() != 2 || !node[0].IsScalar() || !node[1].IsScalar()) return "must be two numbers, as [0.9, 0.999]";
    value.numbers.resize(2);
    const auto first = read_double(key, node[0].Scalar(), value.numbers[0]);
    return first.empty() ? read_double(key, node[1].Scalar(), value.numbers[1]) : first;
  }

  static std::string read_freeze(const YAML::Node& node, Value& value) {
    const std::string forms = "must be none, backbone, {embeddings: true, layers: 3} or a list of name patterns";
    if (node.IsScalar()) {
      value.freeze.freeze_backbone = node.Scalar() == "backbone";
      return node.Scalar() == "none" || node.Scalar() == "backbone" ? "" : forms;
    }
    if (node.IsSequence()) {
      for (const auto& pattern : node) {
        if (!pattern.IsScalar() || pattern.Scalar().empty()) return forms;
        value.freeze.patterns.push_back(pattern.Scalar());
      }
      return "";
    }
    for (const auto& entry : node) {
      const std::string name = entry.first.Scalar(), text = entry.second.IsScalar() ? entry.second.Scalar() : "";
      if (name == "embeddings" && (text == "true" || text == "false")) value.freeze.freeze_embeddings = text == "true";
      else if (name == "layers" && parse_number(text, &value.freeze.freeze_layers) && value.freeze.freeze_layers >= 0) continue;
      else return forms;
    }
    return "";
  }

  Config& config_;
  std::vector<std::string>& faults_;
  std::set<std::string> given_;
};

/// "a.b=c" as the map {a: {b: c}}.
void read_override(Reader& reader, const std::string& text, std::vector<std::string>& faults) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    faults.push_back("--set " + quoted(text) + ": must be KEY=VALUE, as optimizer.lr=1e-4");
    return;
  }
  const std::string origin = "--set";
  Gate gate(origin, faults);
  std::istringstream stream(text.substr(equals + 1));
  YAML::Parser(stream).HandleNextDocument(gate);
  YAML::Node node = YAML::Load(text.substr(equals + 1));
  std::string path = text.substr(0, equals);
  for (auto dot = path.rfind('.'); !path.empty(); dot = path.rfind('.')) {
    YAML::Node outer;
    outer[path.substr(dot == std::string::npos ? 0 : dot + 1)] = node;
    node.reset(outer);
    path = dot == std::string::npos ? "" : path.substr(0, dot);
  }
  reader.walk(node, "", origin);
}

}  // namespace

Config load_config(const std::string& path, const std::vector<std::string>& overrides) {
  namespace fs = std::filesystem;
  if (!fs::is_regular_file(path)) throw ConfigError(path + ": no such config file");
  const std::string text = read_file(posix_files(), path, kMaxBytes);
  size_t bad = 0;
  if (!valid_utf8(text, &bad)) throw ConfigError(path + ": byte " + std::to_string(bad) + ": invalid UTF-8 or NUL");
  Config config;
  config.name = fs::path(path).stem().string();
  std::vector<std::string> faults;
  try {
    Gate gate(path, faults);
    std::istringstream stream(text);
    YAML::Parser(stream).HandleNextDocument(gate);
    Reader reader(config, faults);
    if (faults.empty()) {
      const YAML::Node root = YAML::Load(text);
      if (!root.IsMap()) throw ConfigError(path + ":1:1: must be a map of sections: run, model, data, ...");
      reader.walk(root, "", path);
      for (const auto& item : overrides) read_override(reader, item, faults);
      reader.missing();
    }
  } catch (const YAML::ParserException& error) {
    faults.push_back(place(path, error.mark) + ": not valid YAML: " + error.msg);
  }
  if (faults.empty()) cross_check(config, fs::path(path).parent_path().string(), faults);
  if (faults.empty()) return config;
  std::string all;
  for (const auto& f : faults) all += (all.empty() ? "" : "\n") + f;
  throw ConfigError(all);
}

}  // namespace fmtrain
