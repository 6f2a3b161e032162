#include "runtime/text/wordpiece.h"

#include <algorithm>
#include <stdexcept>

#include "runtime/text/bert_words.h"

namespace fmtrain {

WordPiece::WordPiece(std::vector<std::string> tokens, const std::string& unknown, std::string prefix, int32_t max_word_chars)
    : tokens_(std::move(tokens)), prefix_(std::move(prefix)), max_word_chars_(max_word_chars) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string_view token = tokens_[i];
    if (token.empty()) continue;
    first_.emplace(token, static_cast<int32_t>(i));
    longest_first_ = std::max(longest_first_, token.size());
    if (token.size() <= prefix_.size() || token.substr(0, prefix_.size()) != prefix_) continue;
    inside_.emplace(token.substr(prefix_.size()), static_cast<int32_t>(i));
    longest_inside_ = std::max(longest_inside_, token.size() - prefix_.size());
  }
  unknown_ = id(unknown);
  if (unknown_ < 0) throw std::runtime_error("the unknown token \"" + unknown.substr(0, 100) + "\" is not in the vocabulary");
}

int32_t WordPiece::id(std::string_view token) const {
  const auto found = first_.find(token);
  return found == first_.end() ? -1 : found->second;
}

int32_t WordPiece::longest(const Table& table, size_t longest_token, std::string_view rest, size_t* length) const {
  for (size_t n = std::min(longest_token, rest.size()); n > 0; --n) {
    const auto found = table.find(rest.substr(0, n));
    if (found == table.end()) continue;
    *length = n;
    return found->second;
  }
  return -1;
}

void WordPiece::cut(std::string_view word, std::vector<Piece>& pieces) const {
  pieces.clear();
  const bool too_long = word.size() > static_cast<size_t>(max_word_chars_) && count_code_points(word) > max_word_chars_;
  for (size_t at = 0; at < word.size() && !too_long;) {
    size_t n = 0;
    const auto id = at == 0 ? longest(first_, longest_first_, word, &n) : longest(inside_, longest_inside_, word.substr(at), &n);
    if (id < 0) {
      pieces.clear();
      break;
    }
    pieces.push_back({id, at, at + n});
    at += n;
  }
  if (pieces.empty() && !word.empty()) pieces.push_back({unknown_, 0, word.size()});
}

}  // namespace fmtrain
