// What one thread has met lately: the pieces of short words, and what code points become. Two small tables of fixed size in which a
// newcomer takes the place of the one that was there, so that hostile text can make them useless but neither large nor slow. All
// tokenizers of a thread share them: an entry is tagged with its owner.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/text/bert_chars.h"
#include "runtime/text/wordpiece.h"

namespace fmtrain {

/// A word of 1 to 16 bytes without NUL, padded with zeros.
struct WordKey {
  uint64_t low = 0, high = 0;
  bool operator==(const WordKey& other) const { return low == other.low && high == other.high; }
};

/// One cache line.
struct alignas(64) CachedWord {
  static constexpr size_t kPieces = 8;
  WordKey key;
  uint32_t owner = 0;   ///< serial number of the tokenizer, from 1
  uint8_t count = 0;
  uint8_t ends[kPieces] = {};  ///< where each piece ends in the word, in bytes
  int32_t ids[kPieces] = {};
};
static_assert(sizeof(CachedWord) == 64);

class TextCache {
 public:
  static constexpr size_t kMaxBytes = 16;

  TextCache() : words_(size_t{1} << kWordBits), chars_(kChars) {}

  /// Where the word is or would be: compare key and owner.
  CachedWord& word(const WordKey& key) { return words_[((key.low * 0x9E3779B97F4A7C15ull) ^ (key.high * 0xC2B2AE3D27D4EB4Full)) * 0x9E3779B97F4A7C15ull >> (64 - kWordBits)]; }

  const BertChar& character(char32_t c, const BertNormalizer& n) {
    const uint32_t flags = static_cast<uint32_t>(n.clean_text) | n.chinese_chars << 1 | n.strip_accents << 2 | n.lowercase << 3;
    const uint32_t tag = static_cast<uint32_t>(c) << 4 | flags;  // 0 is NUL, which never comes
    BertChar& slot = chars_[c % kChars];
    if (slot.tag != tag) {
      slot = bert_char(c, n);
      slot.tag = tag;
    }
    return slot;
  }

  // Scratch of who uses the cache: a word, for each of its bytes the code point it came from, and its pieces.
  std::string text;
  std::vector<int32_t> places;
  std::vector<WordPiece::Piece> pieces;

 private:
  static constexpr int kWordBits = 15;    // 2 MiB a thread: a text of 20,000 words runs 1.6 times as fast as with a quarter of it
  static constexpr size_t kChars = 4096;  // 128 KiB: the characters in use of one script differ in their last 12 bits
  std::vector<CachedWord> words_;
  std::vector<BertChar> chars_;
};

}  // namespace fmtrain
