// Restarts that get nowhere: a job that is requeued for ever would burn its time limit again and again.
#pragma once
#include <cstdint>
#include <string>

#include "comm/communicator.h"
#include "runtime/file_ops.h"

namespace fmtrain {

/// Restarts from one and the same checkpoint that may end before a newer one was saved.
inline constexpr int64_t kRestartsWithoutProgress = 3;

/// Collective, at each start of a run that is not complete. `step`: where it goes on from, 0 without a checkpoint. Rank 0 keeps
/// {step, restarts} in RUN/restarts.json; `resume` false begins anew. Throws on every rank: Error with kDoNotRequeue when
/// kRestartsWithoutProgress restarts from this step have ended already, StorageError when the file cannot be written. A file
/// that cannot be understood is named on stderr and the count begins anew.
void count_restart(FileOps& files, const std::string& run_dir, Communicator& comm, int64_t step, bool resume);

}  // namespace fmtrain
