// Over which ranks one copy of the state is shared out (engine.shard_group): over all of them, or over those of each host,
// which then has a copy of its own: hybrid sharding (Zhao et al., "PyTorch FSDP: experiences on scaling fully sharded data
// parallel", VLDB 2023).
#pragma once
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace fmtrain {

enum class ShardGroup;  // runtime/config/config.h

class ShardGroups {
 public:
  /// One copy over all ranks of `world`, which outlives this.
  ShardGroups(Communicator& world) : world_(&world), within_(&world) {}
  /// Collective. kNode: a copy on every host, if there are several. Throws ConfigError with a table of the hosts, on every
  /// rank, where uneven_nodes() says something; `host` is this rank's.
  ShardGroups(Communicator& world, ShardGroup group, const std::string& host);
  Communicator& world() const { return *world_; }
  /// The ranks that have one copy together, with this one among them.
  Communicator& within() const { return *within_; }
  int copies() const { return across_ ? across_->size() : 1; }
  /// Number of this rank's copy.
  int copy() const { return across_ ? across_->rank() : 0; }
  /// Collective over the world: rank r of the group receives the r-th piece of `full`, reduced over all ranks of the world.
  /// Of kTreeSum these are the bits of the world's own. As Communicator::reduce_scatter; on the CPU all ranks wait for their
  /// works in the same order.
  Work reduce_scatter(at::Tensor shard, at::Tensor full, ReduceOp op) const;

 private:
  Communicator* world_;
  Communicator* within_;
  Communicator* across_ = nullptr;  ///< those that own the same of every copy; none: there is one
};

/// What keeps a copy on every node from having the bits of one over all ranks: "" or a clause. The tree of additions over
/// ranks falls into one subtree a node where every node has the same power of two of ranks, one after the other. nodes: of
/// every rank.
std::string uneven_nodes(const std::vector<int>& nodes);

}  // namespace fmtrain
