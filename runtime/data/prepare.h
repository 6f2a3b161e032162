// Raw text to one HDF5 file (docs/data.md draws it).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/config/config.h"
#include "runtime/text/tokenizer.h"

namespace fmtrain {

struct PrepareOptions {
  Task task = Task::kTokenClassification;
  Format format = Format::kAuto;     ///< kAuto: from the extension, then from the content
  std::string split;                 ///< clinc150: train | val | test (+ oos_*); others: ignored
  Columns columns;
  int64_t max_length = 128;
  Overlong overlong = Overlong::kSplit;
  std::vector<std::string> labels;   ///< the allowed labels, in id order; empty: taken from this file
  int threads = 0;                   ///< that tokenize; 0: as many as this process may use cores. The file does not depend on it
};

struct PrepareResult {
  std::vector<std::string> labels;
  int64_t texts = 0, samples = 0, tokens = 0, split_texts = 0, truncated_texts = 0, lost_words = 0;
  std::string scheme;                ///< conll: IOB1, IOB2 or BIOES as found
};

/// By name or by the format that is forced: an HDF5 file, not raw text.
bool is_prepared(const std::string& input, Format format);

/// Labels of a raw file, as training would number them. Throws DataError "file:line: ...".
std::vector<std::string> labels_of(const std::string& input, const PrepareOptions& options);

/// Read `input`, tokenize, write `output` (temporary + fsync + rename; nothing is left behind on error). Throws DataError
/// "file:line: ..." for malformed input.
PrepareResult prepare_file(const std::string& input, const PrepareOptions& options, const Tokenizer& tokenizer, const std::string& output);

/// The prepared file for `input`: itself when it is HDF5, else an entry of the cache ($FMTRAIN_HOME/data) keyed by the
/// content of input, tokenizer, options and labels, made now when missing. Call on one rank, then let the others call.
std::string prepared_in_cache(const std::string& input, const PrepareOptions& options, const Tokenizer& tokenizer);

}  // namespace fmtrain
