// The content of a prepared file: flat arrays and a description in JSON (docs/data.md draws it). Plain data, no LibTorch.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/data/dataset_info.h"
#include "runtime/data/stored_tokens.h"
#include "runtime/json.h"

namespace fmtrain {

inline constexpr int kDatasetVersion = 2;

struct DatasetFile {
  DatasetInfo info;
  Json options = Json::object();                    ///< how it was made
  std::vector<int32_t> tokens;                      ///< [T] ids, all samples end to end; empty when they are `stored`
  std::shared_ptr<const StoredTokens> stored;       ///< the ids of a large file
  std::vector<int64_t> offsets{0};                  ///< [S+1]
  std::vector<int32_t> texts;                       ///< [S] text of each sample
  std::vector<int64_t> word_offsets{0};             ///< tagging: [S+1]
  std::vector<int32_t> word_gold, word_token;       ///< tagging: [W] label; index in the sample of the first sub-token, -1: none
  std::vector<int32_t> labels;                      ///< classification: [S]
  int64_t token_count() const { return stored ? stored->size() : static_cast<int64_t>(tokens.size()); }
  int64_t samples() const { return static_cast<int64_t>(texts.size()); }
};

/// Temporary beside `path` (exclusive, mode 0600), fsync, rename, fsync of the directory. The same data give the same bytes. Throws
/// StorageError and leaves nothing behind.
void write_dataset_file(const DatasetFile& data, const std::string& path);

/// The arrays as they were written, by their hashes. Throws DataError "file: what" unless everything fits together: version, kinds and
/// lengths of the arrays, offsets that span the data, labels and positions in range. Ids are checked by who knows the vocabulary.
/// More than `in_memory` ids stay in the file.
DatasetFile read_dataset_file(const std::string& path, int64_t in_memory = kTokensInMemory);

}  // namespace fmtrain
