// Saving and loading the state of a run (docs/checkpoint-format.md). A checkpoint is a directory step-N with one safetensors
// file per rank and manifest.json; without a valid manifest there is no checkpoint.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "runtime/checkpoint/state_dict.h"
#include "runtime/file_ops.h"

namespace fmtrain {

class CheckpointStore {
 public:
  /// `dir` is RUN/checkpoints, made when missing; leftovers of broken saves are removed by rank 0. keep >= 1.
  CheckpointStore(std::string dir, FileOps& files, Communicator& comm, int64_t keep);
  /// Collective. Write this rank's pieces, fsync, agree, then rank 0 writes the manifest and renames. Returns false (on every
  /// rank, with *why on rank 0) when storage failed; the older checkpoints are then untouched. `fixed` must be equal on load.
  bool save(int64_t step, const StateDict& state, const Json& small, const Json& fixed, int64_t best_step, std::string* why);
  /// Collective. Fill `targets` from the newest valid checkpoint and return its small state; nothing when there is none.
  /// A damaged one is renamed to .bad-... and the next older is tried; CheckpointError when none of several is valid.
  /// ConfigError when `fixed` differs.
  std::optional<Json> load_newest(const StateDict& targets, const Json& fixed);
  /// Steps on disk, newest first.
  std::vector<int64_t> steps() const;

 private:
  int write_shard(const std::string& path, const StateDict& state, std::vector<int64_t>& facts);
  Json load(int64_t step, const StateDict& targets, const Json& fixed);
  void prune(int64_t best_step);
  std::string dir_;
  FileOps& files_;
  Communicator& comm_;
  int64_t keep_;
};

/// manifest.json of one checkpoint directory, verified against its own SHA-256. Throws CheckpointError "file: what".
Json read_manifest(FileOps& files, const std::string& checkpoint);

/// Reads every file of a checkpoint against the manifest. Throws CheckpointError "file: what".
void verify_checkpoint(FileOps& files, const std::string& checkpoint);

}  // namespace fmtrain
