// One thread a rank that makes no MPI call: it shows on the node's board that the rank lives, ends the job when a local rank is
// dead or nothing moves any more, and names the rank at fault.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/errors.h"
#include "runtime/watch/board.h"
#include "runtime/watch/deadline.h"
#include "runtime/watch/status.h"

namespace fmtrain {

struct WatchOptions {
  Limits limits;
  double period = 2;  ///< seconds between two looks
  /// Whom ranks of this node wait for on other nodes, as Communicator::awaited() says it. A node that knows no more than that
  /// leaves a node that can name one of its own ranks a period and a second to speak first.
  std::function<std::string()> awaited = [] { return std::string(); };
  /// That a process of another host has died, and how that shows; empty: nothing of the kind is known. Asked twice a second.
  std::function<std::string()> lost = [] { return std::string(); };
  double linger = 0;  ///< seconds between a finding and the end of the job, for the watchdogs of other hosts to find the same
};

/// What a watchdog has found, and what it knows of this rank and its node.
struct Finding {
  ExitCode code;
  std::string reason;
  bool first = true;  ///< false: another rank of this node has found it, and this one only adds what it knows of itself
  std::vector<RankState> ranks{};
  std::vector<Collective> collectives{};  ///< the last of this rank, oldest first
  std::vector<std::string> stack{};       ///< of its main thread (stack.h); empty: it found the fault itself
};

/// Called from the watchdog's thread; refresh also by the constructor.
struct WatchActions {
  std::function<void(const Finding&)> record;  ///< writes it down
  std::function<void(ExitCode)> end;           ///< ends the job; does not return
  /// At every look: brings this rank's journal up to date. Communicator::meetings().
  std::function<uint64_t()> refresh = [] { return 0; };
};

/// This process gets SIGKILL when the one that started it ends (a killed launcher leaves no ranks behind).
void die_with_parent();

class Watchdog {
 public:
  /// To be made by the main thread, whose stack a finding has. `seats`: zero-filled, one for each of the `local_size` ranks of the
  /// node; they and `status` outlive this.
  Watchdog(Seat* seats, int local_rank, int local_size, int rank, std::string host, const RunStatus& status, WatchOptions options, WatchActions actions);
  /// Orderly: the other ranks do not take the end of this process for a fault.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  /// Looks no more, and this rank leaves in an orderly way. The rest goes on working.
  void stop();
  /// What is known now.
  Finding finding(ExitCode code, const std::string& reason, bool first = true) const;
  /// Lets the other ranks of this node record what they know of themselves, and waits until they have, 2 s at most.
  void announce(ExitCode code) { seats_[me_].fault = static_cast<int64_t>(code); }
  void await_records() const;

 private:
  std::vector<RankState> ranks() const;
  void watch();
  void show();
  /// Message about a local rank that ended without leaving, empty if there is none.
  std::string dead_rank();
  /// Message about what expired, empty as long as all is well or another node may know more.
  std::string hang();
  /// What options.lost says for the second time in a row: meanwhile the rank that ended the job, if one did, has left its record.
  std::string lost_elsewhere();
  /// The local rank whose watchdog has found a fault, or null.
  const Seat* finder() const;
  /// Records, lets the others of this node record, and ends the job.
  [[noreturn]] void raise(ExitCode code, const std::string& reason, bool first);
  bool others_recorded() const;

  Seat* seats_;
  int me_, size_;
  std::string host_;
  const RunStatus& status_;
  WatchOptions options_;
  WatchActions actions_;
  std::vector<int> pidfds_;  ///< -1: not opened yet
  Deadline deadline_;
  double expired_ = 0;       ///< when it did first, 0: it has not
  int lost_ = 0;             ///< looks in a row that found a process of another host dead
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace fmtrain
