// Token ids of all texts of a raw file, by several threads.
#pragma once
#include <cstdint>
#include <exception>
#include <vector>

#include "runtime/data/raw.h"
#include "runtime/text/tokenizer.h"

namespace fmtrain {

/// As in Encoding, less the offsets, which a prepared file does not keep.
struct EncodedText {
  std::vector<int32_t> ids, words;
  std::exception_ptr error;  ///< what the tokenizer threw, for whoever comes to this text
};

/// One for each text, in order: of its words for token classification, else of its text. `threads` share the work, 0: as many as this
/// process may use cores; the result is the same for any number.
std::vector<EncodedText> encode_texts(const std::vector<RawText>& texts, Task task, const Tokenizer& tokenizer, int threads);

}  // namespace fmtrain
