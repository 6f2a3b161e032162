// Examples by what they say, not by where they lie: manifests of training sets, and the wall between them and test sets.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace fmtrain {

struct Example {
  std::string hash;   ///< content_hash of its text
  int32_t klass = 0;  ///< label, or any stratum
  int64_t time = 0;   ///< seconds since 1970 when it came in
  auto operator<=>(const Example&) const = default;
};

/// SHA-256 of a text without blanks (space, tab, CR, LF) at its ends, and each run of them inside as one space. The label is
/// not part of it: a test text with another label in the training data is a leak too.
std::string content_hash(std::string_view text);

/// Sorted by hash, each hash once (the earliest, then the smallest class).
std::vector<Example> unique_examples(std::vector<Example> examples);

/// A manifest: one text for one set of examples, whatever their order was. Its SHA-256 names the data set in the lineage.
/// ConfigError where parse_manifest would not take it: hashes that are none, times before 1970, more than 64 MiB.
std::string print_manifest(const std::vector<Example>& examples);
/// Throws std::runtime_error that says what is wrong: damage, unknown members, hashes that are none or not ascending.
std::vector<Example> parse_manifest(std::string_view text);

using Hashes = std::unordered_set<std::string>;
/// Removes every example whose hash is one of a test set; returns how many went.
int64_t exclude(std::vector<Example>& examples, const Hashes& tests);
/// How many examples a test set shares with training data: the gate takes none but 0.
int64_t leaked(const std::vector<Example>& examples, const Hashes& tests);

}  // namespace fmtrain
