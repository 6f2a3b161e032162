// BERT's tokenizer as its description reads, without any care for speed: what the fast one must equal, token by token. Longest match
// by trying every length against a hash table; each code point by ICU.
#pragma once
#include <unicode/utf8.h>

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/text/bert_chars.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/tokenizer_files.h"
#include "runtime/text/utf8.h"
#include "runtime/text/wordpiece.h"

namespace fmtrain {

/// The pieces of a word by trying every length.
class PlainWordPiece {
 public:
  explicit PlainWordPiece(const TokenizerSpec& spec) : spec_(spec) {
    for (size_t id = 0; id < spec.tokens.size(); ++id) ids_.emplace(spec.tokens[id], static_cast<int32_t>(id));
  }
  int32_t id(const std::string& token) const { return ids_.at(token); }

  std::vector<WordPiece::Piece> cut(const std::string& word) const {
    std::vector<WordPiece::Piece> pieces;
    if (word.empty()) return pieces;
    const std::vector<WordPiece::Piece> unknown{{id(spec_.unknown), 0, word.size()}};
    if (count_code_points(word) > spec_.max_word_chars) return unknown;
    for (size_t at = 0; at < word.size(); at = pieces.back().end) {
      size_t n = word.size() - at;
      while (n > 0 && ids_.count((at > 0 ? spec_.prefix : "") + word.substr(at, n)) == 0) --n;
      if (n == 0) return unknown;
      pieces.push_back({id((at > 0 ? spec_.prefix : "") + word.substr(at, n)), at, at + n});
    }
    return pieces;
  }

 private:
  const TokenizerSpec& spec_;
  std::unordered_map<std::string, int32_t> ids_;
};

class PlainTokenizer {
 public:
  explicit PlainTokenizer(const TokenizerSpec& spec) : spec_(spec), wordpiece_(spec) {}

  Encoding encode(std::string_view text) {
    start();
    read(text, -1);
    return finish();
  }
  Encoding encode_words(const std::vector<std::string>& words) {
    start();
    for (size_t w = 0; w < words.size(); ++w) read(words[w], static_cast<int32_t>(w));
    return finish();
  }

 private:
  void start() {
    e_ = {};
    add(wordpiece_.id(spec_.cls), 0, 0, -1);
  }
  Encoding finish() {
    add(wordpiece_.id(spec_.sep), 0, 0, -1);
    return e_;
  }
  void add(int32_t id, int32_t begin, int32_t end, int32_t word) {
    e_.ids.push_back(id);
    e_.begin.push_back(begin);
    e_.end.push_back(end);
    e_.words.push_back(word);
  }

  void read(std::string_view text, int32_t fixed_word) {
    fixed_word_ = fixed_word;
    word_ = at_ = 0;
    for (size_t i = 0; i < text.size();) {
      const std::pair<std::string, int32_t>* best = nullptr;
      for (const auto& s : spec_.special)
        if (text.substr(i).starts_with(s.first) && (!best || s.first.size() > best->first.size())) best = &s;
      if (best) {
        close();
        add(best->second, at_, at_ + count_code_points(best->first), fixed_word_ >= 0 ? fixed_word_ : word_++);
        at_ += count_code_points(best->first);
        i += best->first.size();
        continue;
      }
      auto n = static_cast<int32_t>(i);
      UChar32 c;
      U8_NEXT_UNSAFE(text.data(), n, c);
      i = static_cast<size_t>(n);
      character(bert_char(static_cast<char32_t>(c), spec_.normalizer));
      ++at_;
    }
    close();
  }

  void character(const BertChar& made) {
    if (made.alone) close();
    for (int p = 0; p < made.count; ++p) {
      const auto& part = made.parts[p];
      if (part.kind != CharKind::kLetter) close();
      if (part.kind == CharKind::kSpace) continue;
      open_.append(part.bytes, part.size);
      places_.insert(places_.end(), part.size, at_);
      if (part.kind == CharKind::kMark) close();
    }
    if (made.alone) close();
  }

  void close() {
    if (open_.empty()) return;
    for (const auto& p : wordpiece_.cut(open_)) add(p.id, places_[p.begin], places_[p.end - 1] + 1, fixed_word_ >= 0 ? fixed_word_ : word_);
    ++word_;
    open_.clear();
    places_.clear();
  }

  const TokenizerSpec& spec_;
  PlainWordPiece wordpiece_;
  Encoding e_;
  std::string open_;
  std::vector<int32_t> places_;
  int32_t fixed_word_ = -1, word_ = 0, at_ = 0;
};

}  // namespace fmtrain
