// BertNormalizer + BertPreTokenizer: from text to the normalised words that WordPiece cuts, with their place in the text.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fmtrain {

/// Flags of Hugging Face's BertNormalizer.
struct BertNormalizer {
  bool clean_text = true, chinese_chars = true, strip_accents = true, lowercase = true;
};

/// One normalised word or punctuation mark. For byte i of `text`, the code point of the original it came from is
/// [begin[i], end[i]).
struct NormalizedWord {
  std::string text;
  std::vector<int32_t> begin, end;
};

/// Split valid UTF-8 `text`. Offsets count code points from `first`.
std::vector<NormalizedWord> bert_words(std::string_view text, const BertNormalizer& normalizer, int32_t first);

/// Code points of valid UTF-8.
int32_t count_code_points(std::string_view text);

}  // namespace fmtrain
