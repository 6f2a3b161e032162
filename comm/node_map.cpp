#include "comm/node_map.h"

#include <algorithm>
#include <map>

namespace fmtrain {

NodeMap::NodeMap(const std::vector<int>& node_of_rank) {
  std::map<int, int> numbers;  // in order of first appearance
  for (size_t r = 0; r < node_of_rank.size(); ++r) {
    const int node = numbers.try_emplace(node_of_rank[r], static_cast<int>(numbers.size())).first->second;
    node_of_.push_back(node);
    ranks_.resize(numbers.size());
    ranks_[static_cast<size_t>(node)].push_back(static_cast<int>(r));
  }
  trees_ = subtrees(node_of_);
}

int NodeMap::leader(int node, int owner) const {
  if (node_of(owner) == node) return owner;
  return ranks(node)[static_cast<size_t>(owner) % ranks(node).size()];
}

std::vector<int> NodeMap::leaders() const {
  std::vector<int> first;
  for (const auto& ranks : ranks_) first.push_back(ranks.front());
  return first;
}

int NodeMap::local(int rank) const {
  const auto& all = ranks(node_of(rank));
  return static_cast<int>(std::lower_bound(all.begin(), all.end(), rank) - all.begin());
}

}  // namespace fmtrain
