// A trie over bytes, built once and then only read: children lie side by side, so a node costs 13 bytes.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace fmtrain {

class ByteTrie {
 public:
  using Node = uint32_t;
  static constexpr Node kNone = ~0u;
  struct Key {
    Node root;  ///< several tries may share one numbering: their roots are the nodes 0..roots-1
    std::string_view text;
    int32_t value;  ///< >= 0
  };

  /// `keys` in any order; of equal ones the first counts, empty ones are left out. Nodes are numbered by depth: a child comes after its
  /// parent, and every node of depth d before those of depth d + 1. Time and memory are linear in the bytes of the keys, which must
  /// be fewer than 2^31.
  ByteTrie(std::vector<Key> keys, Node roots);

  /// The node below `parent` on the edge `label`, or kNone.
  Node child(Node parent, uint8_t label) const {
    if (parent < kTop) return top_[parent * 256 + label];
    const Node first = children_[parent], last = children_[parent + 1];
    if (last - first > kScanned) return search(first, last, label);
    for (Node n = first; n < last; ++n)
      if (labels_[n] == label) return n;
    return kNone;
  }
  /// Of the key that ends here, or -1.
  int32_t value(Node node) const { return values_[node]; }
  uint8_t label(Node node) const { return labels_[node]; }
  /// kNone for a root.
  Node parent(Node node) const { return parents_[node]; }
  Node size() const { return static_cast<Node>(labels_.size()); }
  /// Value and length of the longest key below `root` that `text` starts with; -1 when there is none.
  int32_t longest(Node root, std::string_view text, size_t* length) const;

 private:
  static constexpr Node kTop = 512;    ///< nodes with a table of 256 children (512 KiB): those near the roots have many children
  static constexpr Node kScanned = 8;  ///< up to so many children are compared one by one
  Node search(Node first, Node last, uint8_t label) const;
  std::vector<uint8_t> labels_;
  std::vector<Node> children_;  ///< [size + 1] children of n are the nodes children_[n] to children_[n + 1]
  std::vector<Node> parents_;
  std::vector<int32_t> values_;
  std::vector<Node> top_;       ///< [kTop * 256]
};

}  // namespace fmtrain
