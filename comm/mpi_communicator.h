// Collectives over MPI for CPU tensors (reductions of float, double, int64, int32; broadcast and all_gather take any dtype).
//
// Inside a node every rank owns a range of the buffer, adds that range straight from its peers' memory and writes the sum
// into all of them: each rank reads and writes as many bytes as the buffer has, once. Buffers that lie in no window of
// allocate() go through a scratch window in pieces. Between nodes the partial sums of a range travel by MPI to its owner: one
// message a node wherever the node's ranks are one subtree of the order of additions, more where they are not.
//
// A collective starts by publishing its buffers and returns; the work is done in wait(), in the order of the calls.
#pragma once
#include <chrono>
#include <memory>
#include <vector>

#include "comm/communicator.h"
#include "comm/mpi_session.h"

namespace fmtrain {

struct MpiOptions {
  /// Longest wait for another rank. Rank 0 may prepare data meanwhile, so it is long.
  std::chrono::duration<double> wait_limit = std::chrono::seconds(600);
  /// Rank r behaves as on node node_of_rank[r] (tests); empty: nodes as they are.
  std::vector<int> node_of_rank;
};

/// Collective. Any call or wait() may throw PeerDied or PeerSilent (comm/errors.h), and CallsDiffer when ranks of a node
/// make different calls; it throws the same again after that. The destructor is collective except after a failure or while an
/// exception unwinds.
std::unique_ptr<Communicator> make_mpi_communicator(const MpiSession& session, const MpiOptions& options = {});

}  // namespace fmtrain
