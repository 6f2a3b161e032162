// A page that the ranks of a node share: who they are and how far they have come. Each rank writes its own seat only.
#pragma once
#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/journal.h"

namespace fmtrain {

struct alignas(64) Seat {
  std::atomic<int64_t> pid;       ///< 0: nobody sits here yet
  std::atomic<int64_t> rank;      ///< in the world
  std::atomic<double> beat;       ///< steady-clock seconds of the last look of this rank's watchdog
  std::atomic<int64_t> step;
  std::atomic<uint64_t> meetings; ///< barriers reached inside collectives
  std::atomic<int64_t> leaving;   ///< 1: ends on purpose; its death is no fault
  std::atomic<int64_t> fault;     ///< exit code of what its watchdog has found; 0: nothing
  std::atomic<int64_t> recorded;  ///< 1: what it knows of a fault is written
  char phase[16];
  Journal journal;                ///< its collectives
  static_assert(std::atomic<double>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free);
};

/// What a seat says, for a message.
struct RankState {
  int64_t rank = 0, pid = 0, step = 0;
  uint64_t issued = 0, meetings = 0;  ///< collectives begun; barriers reached inside them
  double silent = 0;     ///< seconds since its watchdog last looked
  bool stopped = false;  ///< by SIGSTOP or a debugger
  std::string phase;
  Collective last{};     ///< collective; seq 0: none yet
};

/// State letter T or t of proc(5).
bool process_stopped(pid_t pid);
/// Of a seat that is taken, at steady-clock time `now`.
RankState state_of(const Seat& seat, double now);
/// "all_reduce of 4096 bytes (collective 17, running for 3 s)".
std::string describe(const Collective& collective, double now);
/// "rank 3 on host (process 77, stopped), in train, step 12".
std::string describe(const RankState& state, const std::string& host);
/// Whom the others wait for: a stopped process, else one whose watchdog has been silent for more than `patience` seconds, else
/// the only rank that has come less far than all others, who make the same collectives in the same order. None: the ranks of this
/// node look alike.
std::optional<RankState> culprit(const std::vector<RankState>& ranks, double patience);

}  // namespace fmtrain
