// The one table of config keys: reader, schema, reference and documentation all come from it.
#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "runtime/config/config.h"

namespace fmtrain {

enum class Kind { kInteger, kNumber, kBoolean, kText, kWord, kEvery, kSegments, kBetas, kFreeze, kTexts };

/// A checked value on its way from YAML to a field; which member counts depends on the kind of the key.
struct Value {
  bool null = false, boolean = false;
  int64_t integer = 0;  ///< kInteger, kEvery (0: epoch), kSegments (0: none), kWord: index into Key::words
  double number = 0;
  std::string text;             ///< kText, kWord
  std::vector<double> numbers;  ///< kBetas: two
  Freeze freeze;
  std::vector<std::string> texts;  ///< kTexts
};

struct Key {
  std::string path;  ///< "data.max_length"
  Kind kind = Kind::kText;
  std::string meaning, unit;  ///< unit: empty for none
  std::function<void(Config&, const Value&)> set;
  std::function<std::string(const Config&)> get;  ///< as YAML
  std::vector<std::string> words;                 ///< kWord: what may be written; else words allowed besides the value
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
  bool nullable = false;          ///< null (or the only word) leaves the field empty
  bool fixes_computation = true;  ///< part of the computation hash
  std::string example;            ///< not empty: the key is required, and this is what the reference shows
};

const std::vector<Key>& config_keys();

/// The key with this path, or null.
const Key* find_key(const std::string& path);
/// The names one level below `path` ("": the sections), in the order of the table; empty for a key or an unknown path.
std::vector<std::string> names_below(const std::string& path);

/// "auto, conll, csv".
std::string listed(const std::vector<std::string>& words, const char* between = ", ");

/// The table as Markdown, for docs/config.md.
std::string config_table();

}  // namespace fmtrain
