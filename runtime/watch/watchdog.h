// One thread a rank that makes no MPI call: it shows on the node's board that the rank lives, ends the job when a local rank is
// dead or nothing moves any more, and names the rank at fault.
#pragma once
#include <condition_variable>
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
};

/// This process gets SIGKILL when the one that started it ends (a killed launcher leaves no ranks behind).
void die_with_parent();

class Watchdog {
 public:
  /// Called once, from the watchdog's thread; must not return.
  using Alarm = std::function<void(ExitCode code, const std::string& reason, const std::vector<RankState>& ranks)>;
  /// `seats`: zero-filled, one for each of the `local_size` ranks of the node; they and `status` outlive this.
  Watchdog(Seat* seats, int local_rank, int local_size, int rank, std::string host, const RunStatus& status, WatchOptions options, Alarm alarm);
  /// Orderly: the other ranks do not take the end of this process for a fault.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  std::vector<RankState> ranks() const;

 private:
  void watch();
  void show();
  /// Message about a local rank that ended without leaving, empty if there is none.
  std::string dead_rank();
  /// Message about what does not move, empty as long as all is well or another node may know more.
  std::string hang(const std::vector<RankState>& states);

  Seat* seats_;
  int me_, size_;
  std::string host_;
  const RunStatus& status_;
  WatchOptions options_;
  Alarm alarm_;
  std::vector<int> pidfds_;  ///< -1: not opened yet
  Deadline deadline_;
  double expired_ = 0;       ///< when it did first, 0: it has not
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace fmtrain
