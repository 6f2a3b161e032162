#include "runtime/config/values.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

#include "runtime/config/scalars.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

using Type = YamlNode::Type;
constexpr const char* kFreezeForms = "must be none, backbone, {embeddings: true, layers: 3} or a list of name patterns";

/// What is wrong with a value; empty: nothing.
using Wrong = std::string;

/// Letters added, dropped, replaced, or swapped with their neighbour (optimal string alignment): one slip of a finger is 1.
size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i)
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

Wrong check_range(const Key& key, double value, const std::string& text) {
  if (value >= key.low && value <= key.high) return "";
  if (key.low == key.high) return "must be " + yaml_number(key.low) + ", not " + text;
  const bool open = key.high >= 9e15;
  if (open && value > key.high) return "must be at most " + yaml_number(key.high) + ", not " + text;
  return (open ? "must be at least " + yaml_number(key.low)
               : "must be between " + yaml_number(key.low) + " and " + yaml_number(key.high)) +
         ", not " + text;
}

Wrong explain(NumberFault fault, const std::string& kind, const std::string& text) {
  switch (fault) {
    case NumberFault::kNone:
      return "";
    case NumberFault::kLeadingZero:
      return "must be " + kind + " without leading zeros, not " + quoted(text) + " (YAML readers disagree on it)";
    case NumberFault::kNotFinite:
      return "must be a finite number, not " + quoted(text);
    case NumberFault::kTooLarge:
      return "must be a smaller number, not " + quoted(text);
    default:
      return "must be " + kind + ", not " + quoted(text);
  }
}

/// 1000 for 1e3 or 1000.0, where a whole number is wanted.
std::string whole(const std::string& text) {
  double value = 0;
  const bool is = parse_double(text, &value) == NumberFault::kNone && value == std::floor(value) && std::abs(value) < 9e15;
  return is ? " (write " + std::to_string(static_cast<int64_t>(value)) + ")" : "";
}

Wrong read_integer(const Key& key, const YamlNode& node, int64_t& value) {
  if (node.type != Type::kScalar) return "must be a whole number, not " + described(node);
  if (node.quoted) return "must be a whole number without quotes, not " + quoted(node.text);
  const auto fault = parse_integer(node.text, &value);
  if (fault == NumberFault::kNotANumber) return explain(fault, "a whole number", node.text) + whole(node.text);
  const auto wrong = explain(fault, "a whole number", node.text);
  return wrong.empty() ? check_range(key, static_cast<double>(value), node.text) : wrong;
}

Wrong read_number(const Key& key, const YamlNode& node, double& value) {
  if (node.type != Type::kScalar) return "must be a number, not " + described(node);
  if (node.quoted) return "must be a number without quotes, not " + quoted(node.text);
  const auto wrong = explain(parse_double(node.text, &value), "a number", node.text);
  return wrong.empty() ? check_range(key, value, node.text) : wrong;
}

Wrong read_boolean(const YamlNode& node, bool& value) {
  if (node.type != Type::kScalar) return "must be true or false, not " + described(node);
  value = node.text == "true";
  if (!node.quoted && (value || node.text == "false")) return "";
  const std::set<std::string> yes{"yes", "Yes", "YES", "on", "On", "ON", "True", "TRUE", "true", "y", "Y", "1"};
  const std::set<std::string> no{"no", "No", "NO", "off", "Off", "OFF", "False", "FALSE", "false", "n", "N", "0"};
  const char* hint = yes.count(node.text) ? " (write true)" : no.count(node.text) ? " (write false)" : "";
  return "must be true or false" + std::string(node.quoted ? " without quotes" : "") + ", not " + quoted(node.text) + hint;
}

Wrong read_word(const Key& key, const YamlNode& node, Value& value) {
  if (node.type != Type::kScalar) return "must be one word, not " + described(node);
  const auto found = std::find(key.words.begin(), key.words.end(), node.text);
  value.integer = found - key.words.begin();
  value.text = node.text;
  if (found != key.words.end()) return "";
  return "must be " + std::string(key.words.size() > 1 ? "one of " : "") + listed(key.words) + ", not " + quoted(node.text) +
         suggestion(node.text, key.words);
}

/// A control character of ASCII or of U+0080 to U+009F, in UTF-8.
bool holds_control(const std::string& text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7f || (c == 0xc2 && static_cast<unsigned char>(text[i + 1]) < 0xa0)) return true;
  }
  return false;
}

Wrong read_text(const YamlNode& node, std::string& value) {
  if (node.type != Type::kScalar) return "must be text, not " + described(node);
  if (node.text.empty()) return "must not be empty";
  if (!node.quoted && looks_typed(node.text)) return "must be text; put quotes around " + quoted(node.text);
  if (holds_control(node.text)) return "holds a control character: " + quoted(node.text);
  value = node.text;
  return "";
}

Wrong read_every(const Key& key, const YamlNode& node, int64_t& steps) {
  steps = 0;
  if (node.type == Type::kScalar && node.text == "epoch") return "";
  return read_integer(key, node, steps).empty() ? ""
                                                : "must be epoch or a whole number of steps from 1, not " + described(node);
}

bool read_betas(const Key& key, const YamlNode& node, Value& value, Faults& faults) {
  if (node.type != Type::kList || node.items.size() != 2) {
    faults.add(node.place, key.path, "must be two numbers, as [0.9, 0.999]");
    return false;
  }
  bool good = true;
  value.numbers.resize(2);
  for (size_t i = 0; i < 2; ++i) {
    const auto wrong = read_number(key, node.items[i], value.numbers[i]);
    if (!wrong.empty()) faults.add(node.items[i].place, key.path, wrong);
    good = good && wrong.empty();
  }
  return good;
}

bool read_texts(const Key& key, const YamlNode& node, const char* each, std::vector<std::string>& texts, Faults& faults) {
  bool good = true;
  for (const auto& item : node.items) {
    const auto wrong = read_text(item, texts.emplace_back());
    if (!wrong.empty()) faults.add(item.place, key.path, each + (" " + wrong));
    good = good && wrong.empty();
  }
  return good;
}

bool read_freeze_map(const Key& key, const YamlNode& node, Freeze& freeze, Faults& faults) {
  Key layers;
  layers.low = 0;
  layers.high = 100000;
  bool good = true;
  std::set<std::string> seen;
  for (size_t i = 0; i < node.items.size(); ++i) {
    const std::string name = node.keys[i].text;
    Place place = node.keys[i].place;
    Wrong wrong;
    if (node.keys[i].type != Type::kScalar) wrong = "must be a name, not " + described(node.keys[i]);
    else if (!seen.insert(name).second) wrong = "is written twice";
    else if (name == "embeddings") wrong = read_boolean(node.items[i], freeze.freeze_embeddings), place = node.items[i].place;
    else if (name == "layers") wrong = read_integer(layers, node.items[i], freeze.freeze_layers), place = node.items[i].place;
    else wrong = "unknown key" + suggestion(name, {"embeddings", "layers"});
    if (!wrong.empty()) faults.add(place, key.path + "." + shown(name), wrong);
    good = good && wrong.empty();
  }
  return good;
}

bool read_freeze(const Key& key, const YamlNode& node, Freeze& freeze, Faults& faults) {
  if (node.type == Type::kList) return read_texts(key, node, "a pattern", freeze.patterns, faults);
  if (node.type == Type::kMap) return read_freeze_map(key, node, freeze, faults);
  freeze.freeze_backbone = node.text == "backbone";
  if (freeze.freeze_backbone || node.text == "none") return true;
  faults.add(node.place, key.path, std::string(kFreezeForms) + ", not " + described(node) + suggestion(node.text, key.words));
  return false;
}

/// none, full, {every: k}.
Wrong read_segments(const YamlNode& node, int64_t& layers) {
  layers = node.text == "full" ? 1 : 0;
  if (node.type == Type::kScalar && (node.text == "full" || node.text == "none")) return "";
  Key count;
  count.low = 1;
  count.high = 100000;
  const bool form = node.type == Type::kMap && node.items.size() == 1 && node.keys[0].text == "every";
  if (form && read_integer(count, node.items[0], layers).empty()) return "";
  return "must be none, full or {every: k} with k layers from 1, not " + described(node);
}

Wrong read_single(const Key& key, const YamlNode& node, Value& value) {
  switch (key.kind) {
    case Kind::kInteger:
      return read_integer(key, node, value.integer);
    case Kind::kNumber:
      return read_number(key, node, value.number);
    case Kind::kBoolean:
      return read_boolean(node, value.boolean);
    case Kind::kWord:
      return read_word(key, node, value);
    case Kind::kEvery:
      return read_every(key, node, value.integer);
    case Kind::kSegments:
      return read_segments(node, value.integer);
    case Kind::kTexts:
      return "must be a list, as [one, two], not " + described(node);
    default:
      return read_text(node, value.text);
  }
}

}  // namespace

std::string suggestion(const std::string& written, const std::vector<std::string>& known) {
  if (written.size() > 64) return "";
  const auto closer = [&](const auto& a, const auto& b) { return distance(written, a) < distance(written, b); };
  const auto best = std::min_element(known.begin(), known.end(), closer);
  const bool close =
      best != known.end() && distance(written, *best) <= std::max<size_t>(1, std::min(written.size(), best->size()) / 3);
  return close ? " (did you mean " + *best + "?)" : "";
}

std::string shown(const std::string& name) {
  const auto odd = [](char c) { return !std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-' && c != '.'; };
  return name.empty() || name.size() > 64 || std::any_of(name.begin(), name.end(), odd) ? quoted(name) : name;
}

bool read_value(const Key& key, const YamlNode& node, Value& value, Faults& faults) {
  const bool for_absent = key.kind != Kind::kEvery && key.words.size() == 1;  // else a word is a value
  const bool absent = node.type == Type::kNull || (node.type == Type::kScalar && for_absent && node.text == key.words[0]);
  if (key.nullable && absent) {
    value.null = true;
    return true;
  }
  if (node.type == Type::kNull) {
    faults.add(node.place, key.path, "must not be empty");
    return false;
  }
  if (key.kind == Kind::kBetas) return read_betas(key, node, value, faults);
  if (key.kind == Kind::kFreeze) return read_freeze(key, node, value.freeze, faults);
  if (key.kind == Kind::kTexts && node.type == Type::kList) return read_texts(key, node, "an entry", value.texts, faults);
  const auto wrong = read_single(key, node, value);
  if (!wrong.empty()) faults.add(node.place, key.path, wrong);
  return wrong.empty();
}

}  // namespace fmtrain
