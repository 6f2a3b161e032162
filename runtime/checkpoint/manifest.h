// manifest.json: what belongs to a checkpoint, with the hashes of its files (docs/checkpoint-format.md).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/file_ops.h"
#include "runtime/json.h"

namespace fmtrain {

inline constexpr int kCheckpointFormat = 1;
inline constexpr int64_t kCheckpointBlock = 16 << 20;  ///< bytes under one hash

/// "shard-00003-of-00008.safetensors"
std::string shard_name(int rank, int size);

/// The members as text, followed by the last member, sha256, over all bytes before it.
std::string manifest_text(const Json& members);

/// manifest.json of one checkpoint directory, verified against its own SHA-256 and in itself: format, one file a rank with its
/// name, size and the right number of hashes. Throws CheckpointError "file: what".
Json read_manifest(FileOps& files, const std::string& checkpoint);

/// The content of one file of the manifest's list, each block checked. Throws CheckpointError "file: what".
std::string read_verified(FileOps& files, const std::string& checkpoint, const Json& entry);

/// Reads every file of a checkpoint against the manifest. Throws CheckpointError "file: what".
void verify_checkpoint(FileOps& files, const std::string& checkpoint);

/// Steps in RUN/checkpoints, newest first; valid or not. Throws StorageError when the directory cannot be read.
std::vector<int64_t> checkpoint_steps(FileOps& files, const std::string& dir);

/// What differs between the `fixed` of a checkpoint and of this run, for a message.
std::string differences(const Json& saved, const Json& now);

}  // namespace fmtrain
