// Whether the run would go on from a checkpoint, and may.
#pragma once
#include <cstdint>
#include <string>

#include "runtime/file_ops.h"
#include "runtime/preflight/row.h"

namespace fmtrain {

/// The newest whole checkpoint in RUN/checkpoints, whether this run may go on from it (`fixed` as in CheckpointStore): fails
/// with 2 for other keys, 3 for other data, 4 where there are some and none is whole. Reads and compares all bytes of up to
/// `most`, else what describes them.
Row judge_checkpoints(FileOps& files, const std::string& dir, const Json& fixed, int64_t most);

}  // namespace fmtrain
