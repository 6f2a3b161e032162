// Saving and loading the state of a run (docs/checkpoint-format.md). A checkpoint is a directory step-N with one safetensors
// file per rank and manifest.json; without a valid manifest there is no checkpoint.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/state_dict.h"
#include "runtime/file_ops.h"

namespace fmtrain {

/// Storage errors of one rank never throw on that rank alone: all ranks agree on them first, so that none waits for another.
class CheckpointStore {
 public:
  /// Collective. `dir` is RUN/checkpoints, made when missing; leftovers of broken saves are removed by rank 0, so only the
  /// training run itself may construct one. keep >= 1. Throws StorageError on every rank when `dir` cannot be made.
  CheckpointStore(std::string dir, FileOps& files, Communicator& comm, int64_t keep);
  /// Collective. Nothing is touched unless 1.1 times the bytes are free. Write this rank's pieces, fsync, agree, then rank 0
  /// writes the manifest and renames; all is read back, and only then checkpoints are deleted that are neither among the newest
  /// `keep` nor of best_step. Returns false (on every rank, with *why) when storage failed; the older checkpoints are then
  /// untouched. `fixed` must be equal on load. A valid step-N of the same run is kept as it is. Memory: one block (16 MiB).
  bool save(int64_t step, const StateDict& state, const Json& small, const Json& fixed, int64_t best_step, std::string* why);
  /// Collective. Fill `targets` from the newest valid checkpoint and return its small state; nothing when there is none.
  /// Rank 0's list of checkpoints is used by all. Damaged ones are named on stderr, an older one is tried, and once that is
  /// loaded they are renamed to .bad-...; CheckpointError when none of several is valid, and then nothing is renamed.
  /// ConfigError with the differences when `fixed` differs. All ranks return or throw alike.
  std::optional<Json> load_newest(const StateDict& targets, const Json& fixed);
  /// Steps on disk, newest first.
  std::vector<int64_t> steps() const { return checkpoint_steps(files_, dir_); }

 private:
  std::string path(int64_t step) const { return dir_ + "/step-" + std::to_string(step); }
  std::string temporary(int64_t step) const { return dir_ + "/.tmp-" + std::to_string(step); }
  bool keeps_valid(int64_t step, const Json& fixed);
  int make_temporary(int64_t step);
  bool has_space(int64_t step, int64_t bytes, std::string* why);
  Json gather_files(const std::vector<int64_t>& facts);
  int commit(int64_t step, const Json& manifest);
  int read_back(int64_t step, const Json& manifest);
  void after_commit(int64_t step, int64_t best_step);
  std::vector<int64_t> agreed_steps();
  Json load(int64_t step, const StateDict& targets, const Json& fixed);
  void set_aside(const std::vector<int64_t>& damaged);
  std::string dir_;
  FileOps& files_;
  Communicator& comm_;
  int64_t keep_;
};

}  // namespace fmtrain
