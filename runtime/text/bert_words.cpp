#include "runtime/text/bert_words.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include <array>

namespace fmtrain {
namespace {

enum class Kind : uint8_t { kLetter, kSpace, kMark, kDropped };

/// General category as in Unicode 8.0, whose tables Hugging Face's tokenizers hold: six characters have moved since, later ones
/// have none. With ICU's own categories the tokens of 503 code points would differ, most of them marks of rare scripts.
uint32_t category(UChar32 c) {
  switch (c) {
    case 0x166D: case 0x111C9: return U_GC_PO_MASK;
    case 0x1734: return U_GC_MN_MASK;
    case 0x1885: case 0x1886: return U_GC_LO_MASK;
    case 0xA9BD: return U_GC_MC_MASK;
    default: break;
  }
  UVersionInfo age;
  u_charAge(c, age);
  return age[0] > 8 ? 0 : U_GET_GC_MASK(c);
}

bool in_mask(UChar32 c, uint32_t mask) { return (category(c) & mask) != 0; }

/// Blocks of CJK ideographs, each of which is a word of its own (the list of Google's BERT tokenizer).
bool is_chinese(UChar32 c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool is_space(UChar32 c) { return u_isUWhiteSpace(c) != 0; }

bool is_dropped(UChar32 c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  return c == 0xFFFD || in_mask(c, U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK);
}

bool is_mark(UChar32 c) {
  const bool ascii_mark = (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
  return ascii_mark || in_mask(c, U_GC_P_MASK);
}

Kind kind_of(UChar32 c) { return is_space(c) ? Kind::kSpace : is_mark(c) ? Kind::kMark : Kind::kLetter; }

/// What an ASCII character becomes; the same as the general path, looked up.
struct AsciiTable {
  std::array<Kind, 128> kind{};
  AsciiTable(bool clean_text) {
    for (int c = 0; c < 128; ++c) kind[static_cast<size_t>(c)] = clean_text && is_dropped(c) ? Kind::kDropped : kind_of(c);
  }
};

class Splitter {
 public:
  Splitter(const BertNormalizer& normalizer, int32_t first) : normalizer_(normalizer), at_(first) {}

  std::vector<NormalizedWord> split(std::string_view text) {
    static const AsciiTable clean(true), raw(false);
    const AsciiTable& table = normalizer_.clean_text ? clean : raw;
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
    const auto length = static_cast<int32_t>(text.size());
    for (int32_t i = 0; i < length; ++at_) {
      if (bytes[i] < 128) {
        const auto c = bytes[i++];
        if (table.kind[c] != Kind::kDropped) emit(table.kind[c], normalizer_.lowercase && c >= 'A' && c <= 'Z' ? c + 32 : c);
        continue;
      }
      UChar32 c;
      U8_NEXT_UNSAFE(bytes, i, c);
      general(c);
    }
    return std::move(words_);
  }

 private:
  void general(UChar32 c) {
    if (normalizer_.clean_text && is_dropped(c)) return;
    if (normalizer_.chinese_chars && is_chinese(c)) {
      close();
      decompose(c);
      close();
      return;
    }
    decompose(c);
  }

  void decompose(UChar32 c) {
    if (!normalizer_.strip_accents) return lower(c);
    static UErrorCode status = U_ZERO_ERROR;
    static const UNormalizer2* nfd = unorm2_getNFDInstance(&status);
    UChar units[32];
    UErrorCode error = U_ZERO_ERROR;
    const int32_t n = unorm2_getDecomposition(nfd, c, units, 32, &error);
    if (n < 0) return keep(c);
    for (int32_t i = 0; i < n;) {
      UChar32 part;
      U16_NEXT_UNSAFE(units, i, part);
      keep(part);
    }
  }

  void keep(UChar32 c) {
    if (!in_mask(c, U_GC_MN_MASK)) lower(c);
  }

  void lower(UChar32 c) {
    if (!normalizer_.lowercase) return emit(kind_of(c), c);
    emit(kind_of(c), u_tolower(c));
    if (c == 0x130) emit(Kind::kLetter, 0x307);  // the one code point whose lower case has two
  }

  void emit(Kind kind, UChar32 c) {
    if (kind == Kind::kSpace) return close();
    if (kind == Kind::kMark) close();
    if (!open_) {
      words_.emplace_back();
      open_ = true;
    }
    append(words_.back(), c);
    if (kind == Kind::kMark) close();
  }

  void append(NormalizedWord& word, UChar32 c) {
    uint8_t bytes[4];
    int32_t n = 0;
    U8_APPEND_UNSAFE(bytes, n, c);
    word.text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(n));
    word.begin.resize(word.text.size(), at_);
    word.end.resize(word.text.size(), at_ + 1);
  }

  void close() { open_ = false; }

  const BertNormalizer& normalizer_;
  int32_t at_;
  bool open_ = false;
  std::vector<NormalizedWord> words_;
};

}  // namespace

std::vector<NormalizedWord> bert_words(std::string_view text, const BertNormalizer& normalizer, int32_t first) {
  return Splitter(normalizer, first).split(text);
}

int32_t count_code_points(std::string_view text) {
  int32_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

}  // namespace fmtrain
