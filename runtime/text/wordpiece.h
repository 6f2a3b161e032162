// WordPiece (Schuster & Nakajima, 2012; BERT's form): greedy longest match from the left against a vocabulary. In time linear in the
// word, whatever the vocabulary: a trie with failure links (Song et al., "Fast WordPiece Tokenization", EMNLP 2021).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/byte_trie.h"

namespace fmtrain {

class WordPiece {
 public:
  /// tokens[id], no two equal; ids without a token are empty strings. A token is at most 65,535 bytes long. Throws std::runtime_error
  /// when `unknown` is not a token.
  WordPiece(std::vector<std::string> tokens, const std::string& unknown, std::string prefix, int32_t max_word_chars);

  struct Piece {
    int32_t id;
    size_t begin, end;  ///< bytes of the word
  };
  /// The pieces of `word`, or one unknown piece that spans it when some part has no token or the word is too long. Returns the edges of
  /// the trie that it tried: at most one a byte and one a piece.
  size_t cut(std::string_view word, std::vector<Piece>& pieces) const;
  const std::vector<std::string>& tokens() const { return tokens_; }
  /// Id of a token, -1 when there is none.
  int32_t id(std::string_view token) const;
  int32_t unknown() const { return unknown_; }
  int32_t max_word_chars() const { return max_word_chars_; }

 private:
  using Node = ByteTrie::Node;
  /// What is cut off when no edge leads on from a node: pieces, then go on at another node. The pieces of a node are those of `before`
  /// (a node nearer to the root), then its own: so all lists together are no longer than all tokens. (Lists in full could take
  /// the square of a token's length.)
  struct Failure {
    Node next = ByteTrie::kNone, before = ByteTrie::kNone;
    uint32_t own = 0;                  ///< where its own pieces begin in own_
    uint16_t own_count = 0, count = 0; ///< `count` with those of `before`
  };
  void link(Node node);
  void collect(Node node, std::vector<int32_t>& ids) const;
  bool walk(std::string_view word, std::vector<Piece>& pieces, size_t& steps) const;
  void append(Node node, std::vector<Piece>& pieces) const;
  std::vector<std::string> tokens_;
  std::vector<uint16_t> lengths_;  ///< bytes of each token
  std::string prefix_;
  int32_t unknown_, max_word_chars_;
  ByteTrie trie_;                 ///< root 0: all tokens; root 1: tokens that start with the prefix, without it
  std::vector<Failure> failures_; ///< of each node
  std::vector<int32_t> own_;
};

}  // namespace fmtrain
