// YAML text as a plain tree with the place of every node. The only user of yaml-cpp: it parses, this checks what it lets pass
// (aliases, tags, second documents, depth, size, bytes that are not UTF-8) before anything is built from it.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "runtime/config/faults.h"

namespace fmtrain {

struct YamlNode {
  enum class Type { kNull, kScalar, kList, kMap };
  Type type = Type::kNull;
  Place place;
  std::string text;             ///< scalar
  bool quoted = false;          ///< scalar in quotes or as a block: text, whatever it looks like
  std::vector<YamlNode> keys;   ///< map: one for each item
  std::vector<YamlNode> items;  ///< list and map
};

constexpr size_t kMaxYamlBytes = 1u << 20;
constexpr int kMaxYamlDepth = 32;

/// The one document in `text`, null when empty; nothing when it is not valid YAML, and `faults` says why. `source` names the
/// file, or is "--set", and then places have no lines; `path` is the key that faults concern, empty for a whole file.
std::optional<YamlNode> parse_yaml(const std::string& text, const std::string& source, const std::string& path, Faults& faults);

/// The kind of a node for messages: "a list", or the quoted text of a scalar.
std::string described(const YamlNode& node);

}  // namespace fmtrain
