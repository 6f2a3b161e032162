// A registry of one model: its versions, which of them is in use, and who changed that.
//
//   versions/000123/      model directory and lineage.json; written once, never changed
//   cards/000123.json     copy of lineage.json, kept when the weights go
//   aliases.json          {champion, previous, challenger}, fence, last change; replaced whole
//   audit.jsonl           a line a change
//   cycles/000007/        cycle.h; cycles/lock.json: one cycle at a time
//   texts/                text_store.h
//   lock.json             run_lock.h: one writer at a time, for as long as a change takes
//
// Readers need no lock: versions do not change and aliases.json is replaced by rename. Writers hold the lock of the directory.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/continual/aliases.h"
#include "runtime/continual/lineage.h"
#include "runtime/file_ops.h"
#include "runtime/run_lock.h"

namespace fmtrain {

class Registry {
 public:
  Registry(FileOps& files, std::string directory) : files_(files), directory_(std::move(directory)) {}

  /// Nothing but zeros before the first change. CheckpointError where it is damaged, or missing although there are versions or
  /// an audit; StorageError.
  Aliases aliases() const;
  std::vector<int64_t> versions() const;  ///< whose weights are there, ascending
  /// Of any version that ever was. ConfigError where there was none, CheckpointError where it is damaged.
  Lineage lineage(int64_t version) const;
  /// The directory of a version, of which every byte has just been hashed and compared with its lineage. CheckpointError naming
  /// the file that differs, is missing, or does not belong there; ConfigError where the version is not there.
  std::string verified(int64_t version) const;
  std::vector<AuditRecord> audit() const;  ///< oldest first

  const std::string& directory() const { return directory_; }
  FileOps& files() const { return files_; }
  std::string version_directory(int64_t version) const { return directory_ + "/versions/" + version_name(version); }
  std::string card(int64_t version) const { return directory_ + "/cards/" + version_name(version) + ".json"; }

 private:
  FileOps& files_;
  std::string directory_;
};

/// Those of a registry, as far as they are missing. StorageError.
void make_directories(const Registry& registry);

/// Permission to write: the generation of the lock that the writer holds, and whether it still does.
struct Fence {
  int64_t generation = 0;
  std::function<bool(std::string* why)> still_mine;  ///< asked right before every rename that publishes
};

/// Of who holds `lock`, whose last owner wrote `highest`. Above it even where somebody removed lock.json by hand, and its generations
/// began anew; the lock outlives the fence.
Fence fence_of(RunLock& lock, int64_t highest);

/// Throws Error with kLocked unless both hold: the lock's file says who may write, and the fence in aliases.json stops a writer
/// whose lock was removed by hand. Between this and the rename after it a few microseconds remain.
void require_fence(const Registry& registry, const Fence& fence);

/// The lock of a registry for one change. Waits up to `patience` seconds for another change to end, then Error with kLocked.
class RegistryLock {
 public:
  RegistryLock(Registry& registry, const LockIdentity& me, double patience = 60);
  Fence fence() { return fence_of(*lock_, highest_); }

 private:
  std::unique_ptr<RunLock> lock_;
  int64_t highest_ = 0;
};

class RegistryWriter {
 public:
  /// Makes the directories and the first aliases.json, removes what killed writers left (files of a writer's own names only),
  /// and adds the audit line that one may owe. Throws Error with kLocked when a writer with a higher fence was here;
  /// StorageError.
  RegistryWriter(Registry& registry, Fence fence);

  int64_t next_version() const;  ///< one above all that ever were
  /// Copies the model directory `from` as version `lineage.version`; `lineage.files` is filled here. A version that is there is
  /// left as it is: ConfigError when its lineage says something else. So it can be called again after a kill.
  void add(const std::string& from, Lineage lineage);

  /// Each is one replacement of aliases.json and one line of audit.jsonl, and does nothing when it was done before, so that a
  /// step that was killed can be repeated, even after others changed the aliases. A version is challenged and promoted once:
  /// rollback() alone brings one back. `now`: seconds, UTC. Of a reason up to 1,024 bytes are kept, in whole characters.
  void challenge(int64_t version, int64_t now);  ///< becomes challenger; nothing when any change named it before
  /// Verified; champion becomes previous. Nothing when it was ever promoted.
  void promote(int64_t version, const std::string& reason, int64_t now);
  void reject(int64_t version, const std::string& reason, int64_t now);  ///< is challenger no more
  /// Champion and previous change places, after the previous one was verified; returns the champion. `from` is the champion
  /// that is to be left, chosen before the first try, so that a repetition does not change them back. ConfigError without a
  /// previous one, and where `from` is not the champion and not what the last change rolled back.
  int64_t rollback(int64_t from, const std::string& reason, int64_t now);

  /// Removes the weights of all but champion, previous, challenger and the `keep` versions promoted before the champion. Cards
  /// stay. ConfigError without a champion.
  std::vector<int64_t> prune(int64_t keep = 3);

 private:
  void change(Aliases next, const char* action, int64_t version, const std::string& reason, int64_t now);
  void write_aliases(Aliases next);
  void append_audit(const AuditRecord& record);
  bool named_before(const Aliases& now, int64_t version) const;
  void remove_leftovers() const;
  void require_mine() const;
  Registry& registry_;
  Fence fence_;
};

}  // namespace fmtrain
