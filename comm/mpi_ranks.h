// Which ranks an MPI communicator has, who they are, and on which nodes.
#pragma once
#include <mpi.h>

#include <memory>
#include <vector>

#include "comm/mpi_session.h"
#include "comm/node.h"

namespace fmtrain {

struct MpiRanks {
  MPI_Comm comm;                  ///< lives as long
  int rank;                       ///< of this one
  std::vector<Member> members;    ///< by rank
  std::vector<int> node_of_rank;  ///< numbers that those of one node have in common
  Group group;
  std::shared_ptr<Promises> promises;
  int size() const { return static_cast<int>(members.size()); }
};

/// Collective: all of the session. node_of_rank: empty for the hosts as they are.
MpiRanks world_ranks(const MpiSession& session, std::vector<int> node_of_rank);

/// Collective over `all`: those that give the same color, in their order. The caller frees its comm.
MpiRanks part_of(const MpiRanks& all, int color, Group group);

}  // namespace fmtrain
