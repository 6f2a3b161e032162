// Texts of JSON members for a terminal and for Markdown.
#pragma once
#include <string>

#include "runtime/json.h"

namespace fmtrain {

/// A string, number or truth value on one line, at most `most` characters ("…" marks a cut); control characters become spaces
/// and "|" a "/", so that it stays inside a cell. "" for anything else.
std::string plain(const Json& json, size_t most = 200);

}  // namespace fmtrain
