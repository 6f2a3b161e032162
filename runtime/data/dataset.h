// A prepared data set: one HDF5 file, read-only, checked when opened. Samples are token sequences with special tokens; a
// text that is longer than data.max_length may have become several consecutive samples of one text.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/batch.h"
#include "runtime/data/dataset_info.h"

namespace fmtrain {

/// The words of one sample of a tagging set (views into the data set).
struct SampleWords {
  std::span<const int32_t> gold;   ///< label of each word
  std::span<const int32_t> token;  ///< index in the sample of the word's first sub-token, -1: the word has none
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual const DatasetInfo& info() const = 0;
  virtual int64_t size() const = 0;                              ///< samples
  virtual std::span<const int32_t> lengths() const = 0;          ///< [size] tokens
  virtual std::span<const int32_t> valid_targets() const = 0;    ///< [size] targets that carry loss
  virtual std::span<const int32_t> texts() const = 0;            ///< [size] index of the text; non-decreasing
  /// Samples `ids` packed in the order given; CPU tensors. Throws DataError naming the file when its content is damaged.
  virtual Batch get(std::span<const int64_t> ids) const = 0;
  virtual SampleWords words(int64_t id) const = 0;               ///< token classification
  virtual int32_t label(int64_t id) const = 0;                   ///< sequence classification: gold label
};

/// Open a prepared file. Token ids are checked against `vocab_size`, targets against the labels. `limit` >= 0: the first n
/// samples only. A file of more than `in_memory` ids stays on disk (stored_tokens.h). Throws DataError naming the file and what is wrong with it.
std::unique_ptr<Dataset> open_dataset(const std::string& path, int64_t vocab_size, int64_t limit = -1,
                                      int64_t in_memory = kTokensInMemory);

}  // namespace fmtrain
