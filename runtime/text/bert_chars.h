// BertNormalizer + BertPreTokenizer, one code point at a time: what each becomes, and whether it ends a word.
#pragma once
#include <cstdint>
#include <string_view>

namespace fmtrain {

/// Flags of Hugging Face's BertNormalizer.
struct BertNormalizer {
  bool clean_text = true, chinese_chars = true, strip_accents = true, lowercase = true;
};

enum class CharKind : uint8_t {
  kLetter,  ///< part of a word
  kMark,    ///< a word of its own
  kSpace,   ///< ends a word, and is none
};

/// What one code point becomes: nothing, or up to four code points (NFD makes no more of one).
struct BertChar {
  struct Part {
    CharKind kind;
    uint8_t size;    ///< bytes of UTF-8
    char bytes[4];
  };
  uint32_t tag = 0;   ///< for caches
  uint8_t count = 0;
  bool alone = false; ///< an ideograph: its parts are a word of their own
  Part parts[4];
};

BertChar bert_char(char32_t c, const BertNormalizer& normalizer);

}  // namespace fmtrain
