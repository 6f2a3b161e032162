// Lines of a text file with their numbers.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/errors.h"

namespace fmtrain {

/// Longest line any text format may have.
inline constexpr size_t kMaxLine = 16u << 20;

[[noreturn]] inline void fail_at(const std::string& file, int64_t line, const std::string& what) {
  throw DataError(file + ":" + std::to_string(line) + ": " + what);
}

/// Walks over the lines of `content`, without their line ends (LF or CRLF) and without a leading byte order mark. Nothing is copied:
/// `content` must outlive this and the texts it gives.
class Lines {
 public:
  explicit Lines(std::string_view content) : rest_(content) {
    if (rest_.substr(0, 3) == "\xEF\xBB\xBF") rest_.remove_prefix(3);
  }
  /// To the next line; false after the last. A line end at the end of the text starts no further line.
  bool next() {
    if (rest_.empty()) return false;
    const size_t end = rest_.find('\n');
    line_ = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    if (!line_.empty() && line_.back() == '\r') line_.remove_suffix(1);
    ++number_;
    return true;
  }
  std::string_view text() const { return line_; }
  int64_t number() const { return number_; }  ///< of the current line, from 1

 private:
  std::string_view rest_, line_;
  int64_t number_ = 0;
};

}  // namespace fmtrain
