// manifest.json: what belongs to a checkpoint, with the hashes of its files (docs/checkpoint-format.md).
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/errors.h"
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

/// Of the owner of the run directory who wrote it (run_lock.h); 0 where that is not said.
int64_t generation_of(const Json& manifest);

/// Opens a file of the manifest's list, calls `use(fd)`, closes. What is thrown becomes a CheckpointError "file: what".
void with_file(FileOps& files, const std::string& checkpoint, const Json& entry, const std::function<void(int)>& use);

/// Calls `use(block, its first byte)` for the blocks of such a file in order, each after its hash was checked, until it returns
/// false. The size is checked first. From the second block on the next one is read meanwhile, by a thread of its own if there can be one. Throws
/// std::runtime_error. Memory: two blocks. kDisk: past the page cache where the file system
/// can, so that the disk answers; kCache: what several ranks of a host read is read from the disk once.
enum class From { kCache, kDisk };
void read_blocks(FileOps& files, int fd, const Json& entry, From from, const std::function<bool(std::string_view, int64_t)>& use);

/// Reads one file from the disk against its entry in the list. Throws CheckpointError "file: what".
void verify_file(FileOps& files, const std::string& checkpoint, const Json& entry);

/// Reads every file of a checkpoint against the manifest. Throws CheckpointError "file: what".
void verify_checkpoint(FileOps& files, const std::string& checkpoint);

/// "step-N" with N as checkpoints are numbered.
bool is_step_name(const std::string& name);

/// Where a damaged step-N of RUN/checkpoints is moved: a new name each time.
std::string bad_name(const std::string& dir, int64_t step);

/// Steps in RUN/checkpoints, newest first; valid or not. Throws StorageError when the directory cannot be read.
std::vector<int64_t> checkpoint_steps(FileOps& files, const std::string& dir);

/// Deletes step-N of RUN/checkpoints, by a rename to .del-N first: no half of it is ever taken for a checkpoint. 0, or an errno
/// value when it could not be renamed; what cannot be removed after that goes at the run's next start.
int delete_checkpoint(FileOps& files, const std::string& dir, int64_t step);

/// What differs between the `fixed` of a checkpoint and of this run, for a message.
std::string differences(const Json& saved, const Json& now);
/// kOk where nothing does, kData where only the training data do, else kConfig.
ExitCode difference_code(const Json& saved, const Json& now);

}  // namespace fmtrain
