#include "runtime/text/utf8.h"

#include <cstdint>
#include <cstring>

namespace fmtrain {
namespace {

bool continuation(unsigned char c) { return (c & 0xC0) == 0x80; }

/// Bytes of the sequence that starts at p (1..4), or 0 when it is not valid. Table 3-7 of the Unicode Standard.
size_t sequence_length(const unsigned char* p, size_t left) {
  const unsigned char c = p[0];
  if (c < 0x80) return c == 0 ? 0 : 1;
  if (c < 0xC2) return 0;
  if (c < 0xE0) return left >= 2 && continuation(p[1]) ? 2 : 0;
  if (c < 0xF0) {
    if (left < 3 || !continuation(p[1]) || !continuation(p[2])) return 0;
    return (c == 0xE0 && p[1] < 0xA0) || (c == 0xED && p[1] > 0x9F) ? 0 : 3;
  }
  if (c > 0xF4 || left < 4 || !continuation(p[1]) || !continuation(p[2]) || !continuation(p[3])) return 0;
  return (c == 0xF0 && p[1] < 0x90) || (c == 0xF4 && p[1] > 0x8F) ? 0 : 4;
}

/// Eight bytes that are all ASCII and none of them NUL.
bool plain_word(const unsigned char* p) {
  uint64_t w;
  std::memcpy(&w, p, 8);
  const uint64_t high = 0x8080808080808080ull, low = 0x0101010101010101ull;
  return ((w | (w - low)) & high) == 0;
}

}  // namespace

bool valid_utf8(std::string_view text, size_t* at) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  size_t i = 0;
  while (i < text.size()) {
    if (i + 8 <= text.size() && plain_word(p + i)) {
      i += 8;
      continue;
    }
    const size_t n = sequence_length(p + i, text.size() - i);
    if (n == 0) {
      *at = i;
      return false;
    }
    i += n;
  }
  return true;
}

int32_t count_code_points(std::string_view text) {
  int32_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

char32_t decode_utf8(const char* text, size_t* at) {
  const auto* p = reinterpret_cast<const unsigned char*>(text) + *at;
  const auto tail = [p](int i, int shift) { return static_cast<char32_t>(p[i] & 0x3F) << shift; };
  const int length = p[0] < 0x80 ? 1 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
  *at += static_cast<size_t>(length);
  switch (length) {
    case 1: return p[0];
    case 2: return static_cast<char32_t>(p[0] & 0x1F) << 6 | tail(1, 0);
    case 3: return static_cast<char32_t>(p[0] & 0x0F) << 12 | tail(1, 6) | tail(2, 0);
    default: return static_cast<char32_t>(p[0] & 0x07) << 18 | tail(1, 12) | tail(2, 6) | tail(3, 0);
  }
}

}  // namespace fmtrain
