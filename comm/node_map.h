// Which rank is on which node, and who speaks for a node.
#pragma once
#include <vector>

#include "comm/tree_reduce.h"

namespace fmtrain {

class NodeMap {
 public:
  /// node_of_rank: any numbers, equal for ranks of one node.
  explicit NodeMap(const std::vector<int>& node_of_rank);
  int nodes() const { return static_cast<int>(ranks_.size()); }
  int node_of(int rank) const { return node_of_[static_cast<size_t>(rank)]; }
  const std::vector<int>& ranks(int node) const { return ranks_[static_cast<size_t>(node)]; }
  /// The rank that handles, on `node`, what belongs to `owner`: the owner itself on its own node.
  int leader(int node, int owner) const;
  /// Index of a rank among the ranks of its node.
  int local(int rank) const;
  const std::vector<Subtree>& trees() const { return trees_; }

 private:
  std::vector<int> node_of_;
  std::vector<std::vector<int>> ranks_;
  std::vector<Subtree> trees_;
};

}  // namespace fmtrain
