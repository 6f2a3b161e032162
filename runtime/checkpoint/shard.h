// One rank's file of a checkpoint, written block by block from live memory.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/checkpoint/state_dict.h"
#include "runtime/file_ops.h"

namespace fmtrain {

/// Bytes of the file that write_shard makes, header included.
int64_t shard_bytes(const StateDict& state);

/// Creates `path`, which must not exist, writes the pieces, fsyncs, closes. 0 or an errno value. facts: bytes of the file, then
/// the XXH3-128 of each block as two numbers, so that ranks can add theirs up into one table. Memory: two blocks and the header.
int write_shard(FileOps& files, const std::string& path, const StateDict& state, std::vector<int64_t>& facts);

}  // namespace fmtrain
