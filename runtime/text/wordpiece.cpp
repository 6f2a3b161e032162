#include "runtime/text/wordpiece.h"

#include <algorithm>
#include <stdexcept>

#include "runtime/text/utf8.h"

namespace fmtrain {
namespace {

constexpr ByteTrie::Node kFront = 0, kInside = 1;

ByteTrie trie_of(const std::vector<std::string>& tokens, std::string_view prefix) {
  std::vector<ByteTrie::Key> keys;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string_view token = tokens[i];
    const auto id = static_cast<int32_t>(i);
    if (token.empty()) continue;
    keys.push_back({kFront, token, id});
    if (token.size() > prefix.size() && token.starts_with(prefix)) keys.push_back({kInside, token.substr(prefix.size()), id});
  }
  return {std::move(keys), 2};
}

}  // namespace

WordPiece::WordPiece(std::vector<std::string> tokens, const std::string& unknown, std::string prefix, int32_t max_word_chars)
    : tokens_(std::move(tokens)), prefix_(std::move(prefix)), max_word_chars_(max_word_chars), trie_(trie_of(tokens_, prefix_)) {
  unknown_ = id(unknown);
  if (unknown_ < 0) throw std::runtime_error("the unknown token \"" + unknown.substr(0, 100) + "\" is not in the vocabulary");
  failures_.resize(trie_.size());
  for (const auto& token : tokens_) lengths_.push_back(static_cast<uint16_t>(token.size()));
  for (Node node = kInside + 1; node < trie_.size(); ++node) link(node);
}

int32_t WordPiece::id(std::string_view token) const {
  size_t length = 0;
  const int32_t found = trie_.longest(kFront, token, &length);
  return found >= 0 && length == token.size() ? found : -1;
}

/// By induction over the depth: nodes nearer to the root are linked already. Algorithm 2 of the paper.
void WordPiece::link(Node node) {
  auto& failure = failures_[node];
  failure.own = static_cast<uint32_t>(own_.size());
  if (trie_.value(node) >= 0) {
    own_.push_back(trie_.value(node));
    failure.next = kInside;
    failure.own_count = failure.count = 1;
    return;
  }
  const Node parent = trie_.parent(node);
  std::vector<int32_t> more;
  Node at = failures_[parent].next, next = ByteTrie::kNone;
  while (at != ByteTrie::kNone && (next = trie_.child(at, trie_.label(node))) == ByteTrie::kNone) {
    collect(at, more);
    at = failures_[at].next;
  }
  if (at == ByteTrie::kNone) return;
  failure.next = next;
  failure.before = failures_[parent].own_count > 0 ? parent : failures_[parent].before;
  failure.own_count = static_cast<uint16_t>(more.size());
  failure.count = static_cast<uint16_t>(failures_[parent].count + more.size());
  own_.insert(own_.end(), more.begin(), more.end());
}

/// Appends the pieces of `node`, filling from the back: the lists are linked towards the front.
void WordPiece::collect(Node node, std::vector<int32_t>& ids) const {
  ids.resize(ids.size() + failures_[node].count);
  auto out = ids.end();
  for (; node != ByteTrie::kNone; node = failures_[node].before) {
    const auto own = own_.begin() + failures_[node].own;
    out = std::copy_backward(own, own + failures_[node].own_count, out);
  }
}

void WordPiece::append(Node node, std::vector<Piece>& pieces) const {
  size_t begin = pieces.empty() ? 0 : pieces.back().end;
  const auto put = [&](Piece& piece, int32_t id) {
    piece = {id, begin, begin + lengths_[static_cast<size_t>(id)] - (begin > 0 ? prefix_.size() : 0)};
    begin = piece.end;
  };
  if (trie_.value(node) >= 0) return put(pieces.emplace_back(), trie_.value(node));  // the most frequent case
  const size_t first = pieces.size();
  std::vector<int32_t> ids;
  collect(node, ids);
  pieces.resize(first + ids.size());
  for (size_t p = 0; p < ids.size(); ++p) put(pieces[first + p], ids[p]);
}

bool WordPiece::walk(std::string_view word, std::vector<Piece>& pieces, size_t& steps) const {
  Node node = kFront;
  for (size_t i = 0; i < word.size(); ++steps) {
    const Node next = trie_.child(node, static_cast<uint8_t>(word[i]));
    if (next != ByteTrie::kNone) {
      node = next;
      ++i;
      continue;
    }
    if (failures_[node].next == ByteTrie::kNone) return false;
    append(node, pieces);
    node = failures_[node].next;
  }
  for (; node != kInside; ++steps) {
    if (failures_[node].next == ByteTrie::kNone) return false;
    append(node, pieces);
    node = failures_[node].next;
  }
  return true;
}

size_t WordPiece::cut(std::string_view word, std::vector<Piece>& pieces) const {
  pieces.clear();
  size_t steps = 0;
  if (word.empty()) return steps;
  const bool too_long = word.size() > static_cast<size_t>(max_word_chars_) && count_code_points(word) > max_word_chars_;
  if (too_long || !walk(word, pieces, steps)) pieces.assign(1, {unknown_, 0, word.size()});
  return steps;
}

}  // namespace fmtrain
