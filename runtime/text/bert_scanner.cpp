#include "runtime/text/bert_scanner.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "runtime/text/utf8.h"

namespace fmtrain {
namespace {

using Step = BertRules::Step;

ByteTrie special_trie(const std::vector<std::pair<std::string, int32_t>>& special) {
  std::vector<ByteTrie::Key> keys;
  for (const auto& [token, id] : special) keys.push_back({0, token, id});
  return {std::move(keys), 1};
}

Step plain_step(uint8_t c, const BertNormalizer& normalizer) {
  if (c == 0 || c >= 128) return Step::kSlow;
  const BertChar made = bert_char(c, normalizer);
  if (made.count == 0) return Step::kSlow;
  return made.parts[0].kind == CharKind::kSpace ? Step::kSpace : made.parts[0].kind == CharKind::kMark ? Step::kMark : Step::kLetter;
}

/// The first `size` (1 to 16) bytes of `text`; the others are zero. `readable` bytes lie there.
WordKey key_of(const char* text, size_t size, size_t readable) {
  WordKey key;
  if (readable < sizeof key) {
    std::memcpy(&key, text, size);
    return key;
  }
  std::memcpy(&key, text, sizeof key);
  if (size <= 8) {
    key.low &= ~uint64_t{0} >> (64 - 8 * size);
    key.high = 0;
  } else {
    key.high &= ~uint64_t{0} >> (128 - 8 * size);
  }
  return key;
}

/// Lower case of eight ASCII characters at once: bit 7 of a byte tells, without a carry, whether it lies between A and Z.
uint64_t lower(uint64_t w) {
  const uint64_t ones = 0x0101010101010101ull;
  const uint64_t upper = (w + ones * (128 - 'A')) & ~(w + ones * (127 - 'Z')) & ones * 128;
  return w | upper >> 2;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

}  // namespace

BertRules::BertRules(const BertNormalizer& normalizer, const std::vector<std::pair<std::string, int32_t>>& special, const WordPiece& wordpiece)
    : normalizer_(normalizer), wordpiece_(wordpiece), special_(special_trie(special)) {
  static std::atomic<uint32_t> tokenizers{0};
  serial_ = ++tokenizers;
  for (const auto& [token, id] : special) special_starts_[static_cast<uint8_t>(token[0])] = true;
  std::vector<WordPiece::Piece> pieces;
  for (size_t c = 0; c < 256; ++c) {
    steps_[c] = plain_step(static_cast<uint8_t>(c), normalizer);
    if (steps_[c] == Step::kMark) {
      const char mark = static_cast<char>(c);
      wordpiece.cut({&mark, 1}, pieces);
      marks_[c] = pieces[0].id;
    }
    if (special_starts_[c]) steps_[c] = steps_[c] == Step::kMark || steps_[c] == Step::kSpace ? Step::kEnds : Step::kSlow;
  }
}

void TokenSink::resize(size_t size) {
  for (auto* values : {&out_.ids, &out_.begin, &out_.end, &out_.words}) values->resize(size);
  room_ = size;
}

void TokenSink::grow(size_t more) {
  resize(std::max(2 * room_, size_ + more));
  ids_ = out_.ids.data();
  begin_ = out_.begin.data();
  end_ = out_.end.data();
  words_ = out_.words.data();
}

BertScanner::BertScanner(const BertRules& rules, TextCache& cache, TokenSink& sink) : rules_(rules), cache_(cache), sink_(sink) {
  cache_.text.clear();  // of a text that was given up
  cache_.places.clear();
}

void BertScanner::scan(std::string_view text, int32_t fixed_word) {
  text_ = text;
  fixed_word_ = fixed_word;
  at_ = 0;
  for (size_t i = 0; i < text.size();) {
    if (chars_ == 0) i = ascii_words(i);
    if (i < text.size()) i = code_point(i);
  }
  close();
}

/// From a place between words to the first word that is not plain, or the end.
size_t BertScanner::ascii_words(size_t i) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text_.data());
  const size_t end = text_.size();
  while (i < end) {
    const Step step = rules_.step(bytes[i]);
    size_t next = i + 1;
    if (step == Step::kLetter) {
      while (next < end && rules_.step(bytes[next]) == Step::kLetter) ++next;
      if (next < end && rules_.step(bytes[next]) == Step::kSlow) return i;
      ascii_word(i, next - i);
    } else if (step == Step::kMark) {
      sink_.room(1);
      sink_.put(rules_.mark(bytes[i]), at_, at_ + 1, next_word());
    } else if (step != Step::kSpace) {
      return i;
    }
    at_ += static_cast<int32_t>(next - i);
    i = next;
  }
  return i;
}

/// A plain word of `size` letters at byte i, which is code point at_.
void BertScanner::ascii_word(size_t i, size_t size) {
  const bool lowercase = rules_.normalizer().lowercase;
  WordKey key;
  if (size <= TextCache::kMaxBytes) {
    key = key_of(text_.data() + i, size, text_.size() - i);
    if (lowercase) key = {lower(key.low), lower(key.high)};
    const CachedWord& known = cache_.word(key);
    if (known.key == key && known.owner == rules_.serial()) {
      const int32_t word = next_word();
      sink_.room(CachedWord::kPieces);
      int32_t begin = at_;
      for (size_t p = 0; p < known.count; ++p) {
        sink_.put(known.ids[p], begin, at_ + known.ends[p], word);
        begin = at_ + known.ends[p];
      }
      return;
    }
  }
  auto& text = cache_.text;
  const size_t enough = std::max(TextCache::kMaxBytes, static_cast<size_t>(rules_.wordpiece().max_word_chars())) + 1;
  text.assign(text_.substr(i, std::min(size, enough)));
  if (lowercase) std::transform(text.begin(), text.end(), text.begin(), [](char c) { return lower(c); });
  const auto& pieces = cut(text, key);
  const int32_t word = next_word();
  sink_.room(pieces.size());
  const bool whole = text.size() == size;  // else it is unknown
  for (const Piece& p : pieces) sink_.put(p.id, at_ + static_cast<int32_t>(p.begin), at_ + static_cast<int32_t>(whole ? p.end : size), word);
  text.clear();
}

/// Pieces of a word, kept in the cache under `key` when they fit.
const std::vector<WordPiece::Piece>& BertScanner::cut(std::string_view word, const WordKey& key) {
  auto& pieces = cache_.pieces;
  rules_.wordpiece().cut(word, pieces);
  if (word.size() > TextCache::kMaxBytes || pieces.size() > CachedWord::kPieces) return pieces;
  CachedWord& slot = cache_.word(key);
  slot.key = key;
  slot.owner = rules_.serial();
  slot.count = static_cast<uint8_t>(pieces.size());
  for (size_t p = 0; p < pieces.size(); ++p) {
    slot.ids[p] = pieces[p].id;
    slot.ends[p] = static_cast<uint8_t>(pieces[p].end);
  }
  return pieces;
}

/// One code point at byte i, or one special token; returns the byte after it.
size_t BertScanner::code_point(size_t i) {
  size_t length = 0;
  const auto byte = static_cast<uint8_t>(text_[i]);
  const int32_t special = rules_.may_be_special(byte) ? rules_.special(text_.substr(i), &length) : -1;
  if (special >= 0) {
    close();
    const int32_t chars = count_code_points(text_.substr(i, length));
    sink_.room(1);
    sink_.put(special, at_, at_ + chars, next_word());
    at_ += chars;
    return i + length;
  }
  const BertChar& made = cache_.character(decode_utf8(text_.data(), &i), rules_.normalizer());
  if (made.alone) close();
  for (size_t p = 0; p < made.count; ++p) append(made.parts[p]);
  if (made.alone) close();
  ++at_;
  return i;
}

void BertScanner::append(const BertChar::Part& part) {
  if (part.kind != CharKind::kLetter) close();
  if (part.kind == CharKind::kSpace) return;
  if (chars_ == 0) first_place_ = at_;
  last_place_ = at_;
  if (++chars_ <= rules_.wordpiece().max_word_chars()) {
    cache_.text.append(part.bytes, part.size);
    cache_.places.insert(cache_.places.end(), part.size, at_);
  }
  if (part.kind == CharKind::kMark) close();
}

void BertScanner::close() {
  if (chars_ == 0) return;
  if (chars_ > rules_.wordpiece().max_word_chars()) {
    sink_.room(1);
    sink_.put(rules_.wordpiece().unknown(), first_place_, last_place_ + 1, next_word());
  } else {
    put_open_word();
  }
  chars_ = 0;
  cache_.text.clear();
  cache_.places.clear();
}

void BertScanner::put_open_word() {
  const std::string& text = cache_.text;
  const auto& places = cache_.places;
  const int32_t word = next_word();
  WordKey key;
  if (text.size() <= TextCache::kMaxBytes) {
    key = key_of(text.data(), text.size(), text.size());
    const CachedWord& known = cache_.word(key);
    if (known.key == key && known.owner == rules_.serial()) {
      sink_.room(CachedWord::kPieces);
      size_t begin = 0;
      for (size_t p = 0; p < known.count; begin = known.ends[p++]) sink_.put(known.ids[p], places[begin], places[known.ends[p] - size_t{1}] + 1, word);
      return;
    }
  }
  const auto& pieces = cut(text, key);
  sink_.room(pieces.size());
  for (const Piece& p : pieces) sink_.put(p.id, places[p.begin], places[p.end - 1] + 1, word);
}

}  // namespace fmtrain
