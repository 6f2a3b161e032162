#include "runtime/text/bert_chars.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>

namespace fmtrain {
namespace {

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

CharKind kind_of(UChar32 c) { return is_space(c) ? CharKind::kSpace : is_mark(c) ? CharKind::kMark : CharKind::kLetter; }

/// Collects the parts of one code point.
class Expander {
 public:
  explicit Expander(const BertNormalizer& normalizer) : normalizer_(normalizer) {}

  BertChar expand(UChar32 c) {
    if (normalizer_.clean_text && is_dropped(c)) return result_;
    result_.alone = normalizer_.chinese_chars && is_chinese(c);
    decompose(c);
    return result_;
  }

 private:
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
    if (!normalizer_.lowercase) return add(kind_of(c), c);
    add(kind_of(c), u_tolower(c));
    if (c == 0x130) add(CharKind::kLetter, 0x307);  // the one code point whose lower case has two
  }

  void add(CharKind kind, UChar32 c) {
    if (result_.count == std::size(result_.parts)) throw std::logic_error("a code point became more than four");
    auto& part = result_.parts[result_.count++];
    uint8_t bytes[4] = {};
    int32_t n = 0;
    U8_APPEND_UNSAFE(bytes, n, c);
    part.kind = kind;
    part.size = static_cast<uint8_t>(n);
    std::copy_n(bytes, 4, part.bytes);
  }

  const BertNormalizer& normalizer_;
  BertChar result_;
};

}  // namespace

BertChar bert_char(char32_t c, const BertNormalizer& normalizer) { return Expander(normalizer).expand(static_cast<UChar32>(c)); }

}  // namespace fmtrain
