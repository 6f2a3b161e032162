// Saving and loading the state of a run (docs/checkpoint-format.md). A checkpoint is a directory step-N with one safetensors
// file per rank and manifest.json; without a valid manifest there is no checkpoint.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/save.h"
#include "runtime/checkpoint/state_dict.h"
#include "runtime/file_ops.h"

namespace fmtrain {

/// Storage errors of one rank never throw on that rank alone: all ranks agree on them first, so that none waits for another.
class CheckpointStore {
 public:
  /// Collective. `dir` is RUN/checkpoints, made when missing; leftovers of broken saves are removed by rank 0, so only the
  /// training run itself may construct one. keep >= 1. `lock`: of the run directory, on rank 0. Throws StorageError on every rank
  /// when `dir` cannot be made.
  CheckpointStore(std::string dir, FileOps& files, Communicator& comm, int64_t keep, RunLock* lock = nullptr);
  /// Collective. Write this rank's pieces, fsync, agree, then rank 0 writes the manifest and renames; all is read back, and only
  /// then checkpoints are deleted that are neither among the newest `keep` nor of best_step (save.h). Returns false (on every
  /// rank, with *why) when storage failed; the older checkpoints are then untouched. `fixed` must be equal on load. A valid step-N
  /// of the same run is kept as it is. Memory: two blocks of 16 MiB. No other save may be in flight.
  bool save(int64_t step, const StateDict& state, const Json& small, const Json& fixed, int64_t best_step, std::string* why);
  /// Collective. The same behind the caller's back: threads copy `state` and do what waits for storage, and settle() copies what they
  /// have not come to. From a GPU the copy is made at once. advance_save() tells how it ended. Memory, kept: as much as this rank's
  /// file. No other save may be in flight.
  void begin_save(int64_t step, const StateDict& state, const Json& small, const Json& fixed, int64_t best_step);
  /// To be called on every rank before its part of the state changes: copies what threads have not. Returns the seconds it took.
  double settle();
  /// Collective, while a save is in flight; to be called between steps, or with `wait` to see its end. Whether the save succeeded,
  /// once, when that is known.
  std::optional<bool> advance_save(bool wait, std::string* why);
  bool saving() const { return save_ != nullptr; }     ///< the same on all ranks
  double save_seconds() const { return save_seconds_; }  ///< that this rank's last save took, without waiting for other ranks
  /// Collective. Fill `targets` from the newest valid checkpoint and return its small state; nothing when there is none.
  /// Rank 0's list of checkpoints is used by all, without those of a lower generation than an older one has: what a run wrote that
  /// did not know yet that another one had taken over. They are set aside like damaged ones. Damaged ones are named on stderr, an older one is tried, and once that is
  /// loaded they are renamed to .bad-...; CheckpointError when none of several is valid, and then nothing is renamed.
  /// Error with the differences when `fixed` differs: kData where only its data do, else kConfig. All ranks return or throw alike.
  std::optional<Json> load_newest(const StateDict& targets, const Json& fixed);
  /// Collective. Throws StorageError on all ranks when a checkpoint of `state` would not fit on the disk or into a quota.
  void must_fit(const StateDict& state) const;
  /// Deletes what a save deletes at its end: a start that was killed before that leaves one too many. To be called when the newest
  /// checkpoint has been loaded, and so verified.
  void prune(int64_t best_step);
  /// Steps on disk, newest first.
  std::vector<int64_t> steps() const { return checkpoint_steps(place_.files, place_.dir); }

 private:
  void begin(SaveRequest request, bool whole);
  std::string path(int64_t step) const { return place_.dir + "/step-" + std::to_string(step); }
  std::vector<int64_t> agreed_steps();
  std::vector<int64_t> steps_of_owners();
  Json load(int64_t step, const StateDict& targets, const Json& fixed);
  void set_aside(const std::vector<int64_t>& damaged);

  SavePlace place_;
  std::vector<int64_t> fenced_;  ///< rank 0: steps that were ignored, to be set aside once another one is loaded
  at::Tensor memory_;                   ///< of ShardImage, kept from save to save
  std::unique_ptr<CheckpointSave> save_;
  double save_seconds_ = 0;
};

}  // namespace fmtrain
