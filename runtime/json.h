// The one door for JSON from outside: counts depth and bytes, refuses duplicate keys, invalid UTF-8 and trailing bytes.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace fmtrain {

using Json = nlohmann::ordered_json;   ///< keeps the order of members, finds one in linear time
using SortedJson = nlohmann::json;      ///< for objects with very many members, as a vocabulary

struct JsonLimits {
  size_t bytes = 1u << 20;  ///< input larger than this is refused before parsing
  int depth = 16;           ///< nesting of arrays and objects
};

/// Parse `text`. Throws std::runtime_error "byte N: what" (callers prefix the file and choose the error type).
Json parse_json(std::string_view text, const JsonLimits& limits);
SortedJson parse_sorted_json(std::string_view text, const JsonLimits& limits);

}  // namespace fmtrain
