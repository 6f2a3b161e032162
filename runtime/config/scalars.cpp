#include "runtime/config/scalars.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace fmtrain {
namespace {

constexpr const char* kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr const char* kDigits = "0123456789";

bool digit(const std::string& text, size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '9'; }

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

/// .inf, -inf, NaN and their like.
bool names_no_finite(const std::string& text) {
  const auto start = text.find_first_not_of("+-.");
  const auto word = start == std::string::npos ? "" : lower(text.substr(start));
  return word == "inf" || word == "nan" || word == "infinity";
}

template <class T>
NumberFault parse(const std::string& text, T* value) {
  if (names_no_finite(text)) return NumberFault::kNotFinite;
  const size_t first = text[0] == '-' ? 1 : 0;
  if (!digit(text, first) && !(text.size() > first && text[first] == '.')) return NumberFault::kNotANumber;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), *value);
  if (result.ptr != text.data() + text.size() || result.ec == std::errc::invalid_argument) return NumberFault::kNotANumber;
  if (text[first] == '0' && digit(text, first + 1)) return NumberFault::kLeadingZero;
  return result.ec == std::errc() ? NumberFault::kNone : NumberFault::kTooLarge;
}

/// From to_chars' 2e-04 or 1.5e+20.
std::string with_point(const std::string& scientific) {
  const auto e = scientific.find('e');
  std::string mantissa = scientific.substr(0, e), digits = scientific.substr(e + 2);
  if (mantissa.find('.') == std::string::npos) mantissa += ".0";
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
  return mantissa + "e" + scientific[e + 1] + digits;
}

}  // namespace

NumberFault parse_integer(const std::string& text, int64_t* value) { return parse(text, value); }

NumberFault parse_double(const std::string& text, double* value) {
  auto fault = parse(text, value);
  if (fault == NumberFault::kTooLarge && std::abs(std::strtod(text.c_str(), nullptr)) < 1) {
    *value = 0;  // an underflow
    fault = NumberFault::kNone;
  }
  if (fault == NumberFault::kNone) *value += 0.0;  // -0 becomes 0
  return fault;
}

bool looks_typed(const std::string& text) {
  static const std::string words[] = {"", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n"};
  if (std::find(std::begin(words), std::end(words), lower(text)) != std::end(words) || names_no_finite(text)) return true;
  const size_t first = text[0] == '-' || text[0] == '+' ? 1 : 0;
  const bool starts = digit(text, first) || (text.size() > first && text[first] == '.' && digit(text, first + 1));
  return starts && text.find_first_not_of("0123456789abcdefABCDEFxXoO_.:+-") == std::string::npos;
}

std::string yaml_text(const std::string& text) {
  const bool safe = text.find_first_not_of(std::string(kLetters) + kDigits + "_-./") == std::string::npos && text[0] != '-';
  if (safe && !looks_typed(text)) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string yaml_number(double value) {
  char buffer[64];
  const bool fixed = value == 0 || (std::abs(value) >= 1e-3 && std::abs(value) < 1e7);
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, fixed ? std::chars_format::fixed : std::chars_format::scientific)
          .ptr;
  return fixed ? std::string(buffer, end) : with_point({buffer, end});
}

}  // namespace fmtrain
