#include "runtime/errors.h"

#include <cstdio>

namespace fmtrain {

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size() && i < 200; ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7f || c >= 0x80) {
      char hex[5];
      std::snprintf(hex, sizeof hex, "\\x%02x", c);
      out += hex;
    } else {
      out += text[i];
    }
  }
  return out + (text.size() > 200 ? "...\"" : "\"");
}

}  // namespace fmtrain
