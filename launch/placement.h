// Where each rank runs, for the start of a run: what the launcher made of its options (-np, --bind-to, --cpus-per-task,
// --gpus-per-task).
#pragma once
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace fmtrain {

struct Place {
  int rank = 0, local_rank = 0;  ///< local: among the ranks of this host
  std::string host, device;      ///< "cpu" or "cuda:N"
  int threads = 1;
  std::string cpus;              ///< affinity mask, as a list
};

/// The logical CPUs on which this thread may run, as Linux lists them: "0-3,8"; "unknown" where it does not say.
std::string allowed_cpus();

/// "rank 3, local rank 1 on HOST: cuda:1, 4 threads, CPUs 8-11"; a long list of CPUs ends with "...".
std::string line_of(const Place& place);

/// Collective. A line a rank, in their order; after 32 of them one that counts the others.
std::vector<std::string> placement_lines(Communicator& comm, const Place& mine);

}  // namespace fmtrain
