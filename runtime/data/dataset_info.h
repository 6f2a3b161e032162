// What a prepared file says about itself.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "models/model_config.h"

namespace fmtrain {

struct DatasetInfo {
  Task task = Task::kTokenClassification;
  std::vector<std::string> labels;  ///< token classification: "O", then "B-X", "I-X" per type
  std::string tokenizer_sha256, source_sha256;
  int64_t max_length = 0;
  int64_t texts = 0;                ///< texts before splitting
  int64_t truncated_texts = 0;      ///< texts that lost tokens (overlong: truncate)
  int64_t lost_words = 0;           ///< words with no token in the file because of truncation
  int64_t tokens = 0;               ///< sum of the sample lengths
  std::string file_sha256;          ///< of the HDF5 file
  std::string content_sha256;       ///< of all that training uses of it: equal files and equal contents of files have the same
};

/// Throws std::runtime_error unless `labels` are as prepare numbers them: 1 to 100,000, none twice; for token classification "O",
/// then "B-X", "I-X" of each type.
void check_labels(const std::vector<std::string>& labels, Task task);

/// A file with more ids than this (512 MiB) is not read into memory; each rank holds its own copy. Below, memory is five times as fast.
inline constexpr int64_t kTokensInMemory = int64_t{128} << 20;

}  // namespace fmtrain
