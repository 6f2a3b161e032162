// UTF-8 checks shared by every reader of text.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fmtrain {

/// True when `text` is valid UTF-8 without NUL (no surrogates, no overlong forms, at most U+10FFFF); else *at is the offset
/// of the first bad byte.
bool valid_utf8(std::string_view text, size_t* at);

/// Code points of valid UTF-8.
int32_t count_code_points(std::string_view text);

/// The code point at text[*at] of valid UTF-8; *at moves behind it.
char32_t decode_utf8(const char* text, size_t* at);

}  // namespace fmtrain
