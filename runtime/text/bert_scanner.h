// One pass over a text: normalised, split into words, cut into pieces, with the place of each in the text. Words of ASCII characters
// between blanks and punctuation, nearly all of English text, are read a word at a time; all others a code point at a time.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/text/bert_chars.h"
#include "runtime/text/byte_trie.h"
#include "runtime/text/text_cache.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/wordpiece.h"

namespace fmtrain {

/// What does not change from text to text.
class BertRules {
 public:
  /// `special`: tokens that are matched in the raw text before everything else, with their ids. `wordpiece` must outlive this.
  BertRules(const BertNormalizer& normalizer, const std::vector<std::pair<std::string, int32_t>>& special, const WordPiece& wordpiece);

  /// What to do at a byte.
  enum class Step : uint8_t {
    kLetter,
    kSpace,
    kMark,
    kEnds,   ///< a mark or space that may start a special token
    kSlow,   ///< anything else: not ASCII, dropped, or a letter that may start a special token
  };
  Step step(uint8_t byte) const { return steps_[byte]; }
  bool may_be_special(uint8_t byte) const { return steps_[byte] >= Step::kEnds && special_starts_[byte]; }
  /// The id and length of the longest special token at the front of `text`; -1: none.
  int32_t special(std::string_view text, size_t* length) const { return special_.longest(0, text, length); }
  int32_t mark(uint8_t ascii) const { return marks_[ascii]; }  ///< id of a punctuation mark
  const BertNormalizer& normalizer() const { return normalizer_; }
  const WordPiece& wordpiece() const { return wordpiece_; }
  uint32_t serial() const { return serial_; }

 private:
  BertNormalizer normalizer_;
  const WordPiece& wordpiece_;
  ByteTrie special_;
  std::array<Step, 256> steps_{};
  std::array<bool, 256> special_starts_{};
  std::array<int32_t, 128> marks_{};
  uint32_t serial_;
};

/// Writes tokens to the end of an Encoding, which has some room in store until finish().
class TokenSink {
 public:
  explicit TokenSink(Encoding& out) : out_(out) {}
  void room(size_t more) {
    if (size_ + more > room_) grow(more);
  }
  /// After room(n), up to n times.
  void put(int32_t id, int32_t begin, int32_t end, int32_t word) {
    ids_[size_] = id;
    begin_[size_] = begin;
    end_[size_] = end;
    words_[size_++] = word;
  }
  void finish() { resize(size_); }

 private:
  void grow(size_t more);
  void resize(size_t size);
  Encoding& out_;
  int32_t *ids_ = nullptr, *begin_ = nullptr, *end_ = nullptr, *words_ = nullptr;
  size_t size_ = 0, room_ = 0;
};

/// Reads texts into `sink`. Offsets count code points of the text.
class BertScanner {
 public:
  BertScanner(const BertRules& rules, TextCache& cache, TokenSink& sink);
  /// `text` is valid UTF-8 without NUL. fixed_word >= 0: all tokens belong to that word; else words are counted from 0.
  void scan(std::string_view text, int32_t fixed_word);

 private:
  using Piece = WordPiece::Piece;
  size_t ascii_words(size_t i);
  size_t code_point(size_t i);
  void ascii_word(size_t i, size_t size);
  void append(const BertChar::Part& part);
  void close();
  void put_open_word();
  const std::vector<Piece>& cut(std::string_view word, const WordKey& key);
  int32_t next_word() { return fixed_word_ >= 0 ? fixed_word_ : word_++; }

  const BertRules& rules_;
  TextCache& cache_;
  TokenSink& sink_;
  std::string_view text_;
  int32_t fixed_word_ = -1, word_ = 0;
  int32_t at_ = 0;  ///< code points before the current place
  // The word that is being put together: its bytes and their places stand in the cache's scratch, as long as it may be cut at all.
  int32_t chars_ = 0, first_place_ = 0, last_place_ = 0;
};

}  // namespace fmtrain
