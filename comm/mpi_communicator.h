// Collectives over MPI for CPU tensors. Inside one node buffers lie in a shared window and every rank adds its own range
// straight from its peers' memory; across nodes the ranges travel by MPI. The order of additions is the same.
#pragma once
#include <memory>

#include "comm/communicator.h"
#include "comm/mpi_session.h"

namespace fmtrain {

/// `shared_window` false: never use shared memory, as between nodes (tests).
std::unique_ptr<Communicator> make_mpi_communicator(const MpiSession& session, bool shared_window = true);

}  // namespace fmtrain
