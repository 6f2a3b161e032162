// Parts of a test set on which a challenger must not be worse: continual.gate.slices of a config.
//
//   label=NAME      classification: texts whose gold label is NAME; tagging: texts with an entity of type NAME
//   words>=N        texts of at least N words; words<N: of fewer. Tagging: rows; classification: runs without blanks
//   contains=WORD   texts in which WORD stands, as a whole word: no letter or digit touches one of its own; ASCII case ignored
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/model_config.h"
#include "runtime/data/raw.h"

namespace fmtrain {

struct Slice {
  enum class Kind { kLabel, kAtLeast, kFewer, kContains };
  std::string name;  ///< as the config has it
  Kind kind = Kind::kLabel;
  std::string text;  ///< NAME, or WORD in lower case
  int64_t words = 0;
};

/// Throws ConfigError that quotes the text which is no slice, or is there twice: of the gate's correction each would count.
std::vector<Slice> parse_slices(const std::vector<std::string>& texts);

/// For each slice its name and the places of its texts in `texts`, ascending.
std::vector<std::pair<std::string, std::vector<int64_t>>> slice_ids(const std::vector<Slice>& slices,
                                                                    std::span<const RawText> texts, Task task);

}  // namespace fmtrain
