// One rank's file of a checkpoint, hashed and written block by block.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/checkpoint/shard_image.h"
#include "runtime/file_ops.h"

namespace fmtrain {

/// Creates `path`, which must not exist, writes the blocks of `image` as they come, fsyncs, closes. 0 or an errno value; `image` was
/// then read to its end or given up. facts: bytes of the file, then the XXH3-128 of each block as two numbers, so that ranks can
/// add theirs up into one table.
int write_shard(FileOps& files, const std::string& path, ShardImage& image, std::vector<int64_t>& facts);

}  // namespace fmtrain
