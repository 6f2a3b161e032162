// Whether run.dir can hold a run: tried by writing, from every host, in a folder beside it that goes again.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "runtime/file_ops.h"
#include "runtime/preflight/row.h"
#include "runtime/run_lock.h"

namespace fmtrain {

struct StorageFigures {
  std::string place;                ///< directory in which it was tried
  std::vector<std::string> faults;  ///< lines
  int64_t free = -1, needed = 0;    ///< bytes; -1: nobody can tell
  int64_t checkpoint = 0;           ///< bytes of one
  double rate = 0;                  ///< MB/s that all hosts together write and fsync; 0: not measured
  bool reserved = true;             ///< every rank could take the bytes of its part; false: this file system cannot do that
};
/// Fails (5) on faults and missing space.
Row judge_storage(const StorageFigures& figures);

struct StorageWanted {
  std::string run_dir;
  int64_t keep = 3, checkpoint = 0;  ///< checkpoints, and bytes of one; 0: not known
  bool leader = false;               ///< this rank writes for its host
  LockIdentity me;
};
/// Collective; the rows are the same on every rank. Leaves nothing behind.
/// "storage": in the run directory, or the nearest directory above that exists, every rank reserves its part of a checkpoint,
/// every host writes up to 64 MiB or 2 s long and sees within 5 s what rank 0 wrote, fsynced and renamed, and rank 0 what the
/// hosts wrote. "lock": a lock can be taken there, and nobody else has that of the run directory (9).
std::vector<Row> check_storage(Communicator& comm, FileOps& files, const StorageWanted& wanted);

}  // namespace fmtrain
