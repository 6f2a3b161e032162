// UTF-8 checks shared by every reader of text.
#pragma once
#include <cstddef>
#include <string_view>

namespace fmtrain {

/// True when `text` is valid UTF-8 without NUL (no surrogates, no overlong forms, at most U+10FFFF); else *at is the offset
/// of the first bad byte.
bool valid_utf8(std::string_view text, size_t* at);

}  // namespace fmtrain
