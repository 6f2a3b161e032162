#include "runtime/text/byte_trie.h"

#include <algorithm>
#include <tuple>

namespace fmtrain {

ByteTrie::ByteTrie(std::vector<Key> keys, Node roots) {
  std::stable_sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) { return std::tie(a.root, a.text) < std::tie(b.root, b.text); });
  std::vector<std::pair<uint32_t, uint32_t>> ranges;  // of each node: the keys that pass through it
  uint32_t k = 0;
  const auto end = static_cast<uint32_t>(keys.size());
  for (Node root = 0; root < roots; ++root) {
    const uint32_t first = k;
    while (k < end && keys[k].root == root) ++k;
    ranges.emplace_back(first, k);
  }
  labels_.assign(roots, 0);
  parents_.assign(roots, kNone);
  values_.assign(roots, -1);
  size_t depth = 0, level_end = roots;
  for (Node node = 0; node < ranges.size(); ++node) {
    if (node == level_end) {
      ++depth;
      level_end = ranges.size();
    }
    children_.push_back(static_cast<Node>(ranges.size()));
    auto [at, last] = ranges[node];
    if (at < last && depth > 0 && keys[at].text.size() == depth) values_[node] = keys[at].value;
    while (at < last && keys[at].text.size() == depth) ++at;
    while (at < last) {
      const auto label = static_cast<uint8_t>(keys[at].text[depth]);
      const uint32_t first = at;
      while (at < last && static_cast<uint8_t>(keys[at].text[depth]) == label) ++at;
      ranges.emplace_back(first, at);
      labels_.push_back(label);
      parents_.push_back(node);
      values_.push_back(-1);
    }
  }
  children_.push_back(static_cast<Node>(ranges.size()));
  top_.assign(size_t{kTop} * 256, kNone);
  for (Node node = roots; node < size() && parents_[node] < kTop; ++node) top_[parents_[node] * 256 + labels_[node]] = node;
}

ByteTrie::Node ByteTrie::search(Node first, Node last, uint8_t label) const {
  const auto begin = labels_.begin() + first, end = labels_.begin() + last;
  const auto found = std::lower_bound(begin, end, label);
  return found != end && *found == label ? static_cast<Node>(found - labels_.begin()) : kNone;
}

int32_t ByteTrie::longest(Node root, std::string_view text, size_t* length) const {
  int32_t best = -1;
  Node node = root;
  for (size_t i = 0; i < text.size(); ++i) {
    node = child(node, static_cast<uint8_t>(text[i]));
    if (node == kNone) break;
    if (value(node) < 0) continue;
    best = value(node);
    *length = i + 1;
  }
  return best;
}

}  // namespace fmtrain
