// WordPiece (Schuster & Nakajima, 2012; BERT's form): greedy longest match from the left against a vocabulary.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace fmtrain {

class WordPiece {
 public:
  /// tokens[id]; ids without a token are empty strings. Throws std::runtime_error when `unknown` is not a token.
  WordPiece(std::vector<std::string> tokens, const std::string& unknown, std::string prefix, int32_t max_word_chars);

  struct Piece {
    int32_t id;
    size_t begin, end;  ///< bytes of the word
  };
  /// The pieces of `word`, or one unknown piece that spans it when some part has no token or the word is too long.
  void cut(std::string_view word, std::vector<Piece>& pieces) const;
  const std::vector<std::string>& tokens() const { return tokens_; }
  /// Id of a token, -1 when there is none.
  int32_t id(std::string_view token) const;

 private:
  using Table = std::unordered_map<std::string_view, int32_t>;
  int32_t longest(const Table& table, size_t longest_token, std::string_view rest, size_t* length) const;
  std::vector<std::string> tokens_;
  std::string prefix_;
  int32_t unknown_, max_word_chars_;
  Table first_, inside_;  ///< all tokens; tokens that start with the prefix, without it
  size_t longest_first_ = 0, longest_inside_ = 0;
};

}  // namespace fmtrain
