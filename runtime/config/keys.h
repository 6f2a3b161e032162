// The one table of config keys: reader, schema, reference and documentation all come from it.
#pragma once
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "runtime/config/config.h"

namespace fmtrain {

enum class Kind { kInteger, kNumber, kBoolean, kText, kWord, kEvery, kBetas, kFreeze };

/// A checked value on its way from YAML to a field.
struct Value {
  bool null = false, boolean = false;
  int64_t integer = 0;
  double number = 0;
  std::string text;
  std::vector<double> numbers;
  FinetuneSection freeze;
};

struct Key {
  std::string path;                  ///< "data.max_length"
  Kind kind;
  std::string meaning;               ///< with unit
  std::function<void(Config&, const Value&)> set;
  std::function<std::string(const Config&)> get;  ///< as YAML
  std::vector<std::string> words;    ///< kWord: what may be written
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
  bool nullable = false;             ///< null (or auto, where a word of that name is listed) leaves the field empty
  bool fixes_computation = true;     ///< part of the computation hash
  bool required = false;
};

const std::vector<Key>& config_keys();

/// Text as a YAML scalar, quoted where it must be.
std::string yaml_text(const std::string& text);
/// Shortest decimal that reads back as the same double.
std::string yaml_number(double value);

}  // namespace fmtrain
