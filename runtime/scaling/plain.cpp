#include "runtime/scaling/plain.h"

#include "runtime/report/html.h"

namespace fmtrain {

std::string plain(const Json& json, size_t most) {
  if (json.is_number() || json.is_boolean()) return json.dump();
  if (!json.is_string()) return "";
  std::string text = json.get<std::string>();
  for (char& c : text) c = static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c == '|' ? '/' : c;
  return clipped(text, most);
}

}  // namespace fmtrain
