// One run directory, one run: RUN/lock.json says who writes there, for as long as it renews it.
//
// Use, on rank 0 of a run only, its outcome broadcast to the others:
// - construct after the run directory was made and before anything in it is read or changed (config.yaml, exit.json, leftovers,
//   the newest checkpoint); destroy after the last write. The file stays, marked as released: a fresh start in the same directory
//   must leave it there too;
// - call still_mine() right before each rename that publishes something (step-N, model/, latest, report) and before each deletion
//   of a checkpoint. False: do not, and end the run with what `why` says (exit 9). Storage that cannot be read just now is also
//   false: a later call may be true again;
// - put max(generation(), that of the checkpoint the run went on from) into each manifest. A writer that wakes up between its check
//   and its rename is then told from the new owner by the loader; the maximum counts when somebody removed lock.json.
//
// Protocol. lock.json is only ever replaced whole, by rename of lock.json.next-K, which a starter creates exclusively: K is 1, or
// the first after those of starters that ended, which the next owner removes. So one starter at a time judges lock.json and
// replaces it, and as the file never goes away, neither does the generation. The owner renews and releases through the descriptor
// of its own file: once another one was renamed over it, that reaches nobody. The nonce in lock.json says who owns it, whatever a
// call answered: a network file system may say ENOENT of a rename that it did.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "runtime/file_ops.h"

namespace fmtrain {

/// A process that starts a run. Equal pid and `started` in equal spaces: the same process.
struct LockIdentity {
  std::string host;
  int64_t pid = 0;
  uint64_t started = 0;   ///< clock ticks since boot, /proc/PID/stat
  std::string pid_space;  ///< boot and pid namespace that give `pid` its meaning: containers may share a host name; "": unknown
  std::string job;        ///< SLURM_JOB_ID, or ""
  int64_t restart = 0;    ///< SLURM_RESTART_COUNT: what tells an earlier start of the job from N processes started at once
};

/// This process.
LockIdentity this_process(const std::string& host, const std::string& job, int64_t restart);

struct LockTimes {
  std::chrono::duration<double> renew{30}, stale{300};
  std::chrono::duration<double> patience{2};  ///< for another starter that is at work
  std::chrono::duration<double> claim{1};     ///< how long another starter may take from creating its claim to writing it
};

class RunLock {
 public:
  /// Takes RUN/lock.json of the directory `run_dir`, which exists. The lock of another owner is taken over
  /// - at once when it was released, when its process ended (pid gone or of another process, in the same space), or when it is
  ///   that of an earlier restart of the same job;
  /// - else when it was not renewed for `times.stale` by the clock of the file server: the age is the difference to a file written
  ///   just now. This holds as well for a file that cannot be understood, whose generation counts as 0.
  /// Throws Error with kLocked, within `times.patience` and a few writes, naming the owner and what to do; StorageError.
  RunLock(FileOps& files, const std::string& run_dir, LockIdentity me, LockTimes times = {});
  ~RunLock();  ///< ends the renewal and marks our file as released
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  /// Reads lock.json again, and renews. False when it is gone, cannot be read, or is another's; `why` names file and owner.
  bool still_mine(std::string* why = nullptr);
  /// One more than that of the owner before.
  int64_t generation() const { return generation_; }

  /// Whether the constructor would refuse `me` now because of another process. Takes nothing. Throws StorageError.
  static bool is_held(FileOps& files, const std::string& run_dir, LockIdentity me, LockTimes times = {});

 private:
  struct Seen;
  struct Untaken {};
  RunLock(Untaken, FileOps& files, const std::string& run_dir, LockIdentity me, LockTimes times);
  Seen look(const std::string& path) const;
  std::string holder(const Seen& file) const;
  int64_t file_server_time() const;
  bool take(const Seen& judged, std::string* by);
  bool replace(const Seen& judged, const std::string& with, int* error);
  void drop(const std::string& claim);
  void clean_up() const;
  void renew();
  void release();

  FileOps& files_;
  std::string dir_, path_;
  LockIdentity me_;
  LockTimes times_;
  std::string nonce_;
  int64_t generation_ = 0;
  int fd_ = -1;  ///< of our file, wherever it is now
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
};

}  // namespace fmtrain
