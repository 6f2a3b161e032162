// Where each rank runs, for the start of a run: what the launcher made of its options (-np, --bind-to, --cpus-per-task,
// --gpus-per-task).
#pragma once
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "runtime/preflight/places.h"

namespace fmtrain {

/// The logical CPUs on which this thread may run, ascending; empty where the system does not say.
std::vector<int> own_cores();

/// "rank 3, local rank 1 on HOST: cuda:1, 4 threads, CPUs 8-11"; a long list of CPUs ends with "...".
std::string line_of(const RankPlace& place);

/// Collective. A line a rank, in their order; after 32 of them one that counts the others.
std::vector<std::string> placement_lines(Communicator& comm, const RankPlace& mine);

}  // namespace fmtrain
