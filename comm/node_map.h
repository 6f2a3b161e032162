// Which rank is on which node, and who speaks for a node.
#pragma once
#include <vector>

#include "comm/tree_reduce.h"

namespace fmtrain {

/// Pure arithmetic over the same vector on every rank, so that all ranks come to the same map without a message. Nodes are numbered
/// by their first rank; ranks may be dealt to nodes in any order and unequal numbers.
class NodeMap {
 public:
  /// node_of_rank: any numbers, equal for ranks of one node.
  explicit NodeMap(const std::vector<int>& node_of_rank);
  int nodes() const { return static_cast<int>(ranks_.size()); }
  int node_of(int rank) const { return node_of_[static_cast<size_t>(rank)]; }
  /// Ascending.
  const std::vector<int>& ranks(int node) const { return ranks_[static_cast<size_t>(node)]; }
  /// The rank that handles, on `node`, what belongs to `owner`: the owner itself on its own node, elsewhere the owners dealt round the
  /// ranks of the node, so that all of them send and receive.
  int leader(int node, int owner) const;
  /// The first rank of every node.
  std::vector<int> leaders() const;
  /// Index of a rank among the ranks of its node.
  int local(int rank) const;
  /// What each node may add up by itself without leaving the fixed order of additions.
  const std::vector<Subtree>& trees() const { return trees_; }

 private:
  std::vector<int> node_of_;
  std::vector<std::vector<int>> ranks_;
  std::vector<Subtree> trees_;
};

}  // namespace fmtrain
