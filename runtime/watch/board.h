// A page that the ranks of a node share: who they are and how far they have come. Each rank writes its own seat only.
#pragma once
#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fmtrain {

struct alignas(64) Seat {
  std::atomic<int64_t> pid;       ///< 0: nobody sits here yet
  std::atomic<int64_t> rank;      ///< in the world
  std::atomic<double> beat;       ///< steady-clock seconds of the last look of this rank's watchdog
  std::atomic<int64_t> step;
  std::atomic<uint64_t> progress;
  std::atomic<int64_t> leaving;   ///< 1: ends on purpose; its death is no fault
  char phase[16];
  static_assert(std::atomic<double>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free);
};

/// What a seat says, for a message.
struct RankState {
  int64_t rank = 0, pid = 0, step = 0;
  uint64_t progress = 0;
  double silent = 0;     ///< seconds since its watchdog last looked
  bool stopped = false;  ///< by SIGSTOP or a debugger
  std::string phase;
};

/// State letter T or t of proc(5).
bool process_stopped(pid_t pid);
/// "rank 3 on host (process 77, stopped), in train, step 12".
std::string describe(const RankState& state, const std::string& host);
/// Whom the others wait for: a stopped process, else one whose watchdog has been silent for more than `patience` seconds, else
/// the only rank that has made less progress than all others. None: the ranks of this node look alike.
std::optional<RankState> culprit(const std::vector<RankState>& ranks, double patience);

}  // namespace fmtrain
