// The last collectives of a rank, for whoever asks why nothing moves: one thread writes, any thread or process that sees the
// memory reads at any moment. No lock, no allocation, some ten stores a collective.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "comm/group.h"

namespace fmtrain {

/// One collective call of one rank. `since`: steady-clock seconds, one clock for all processes of a host.
struct Collective {
  enum class Op : uint32_t { kAllReduce, kReduceScatter, kAllGather, kBroadcast, kAllocate, kBarrier };
  /// kIssued: called, nobody waits for it yet. kRunning: the caller, or on a GPU the caller's stream, waits. kDone: the result is there.
  enum class State : uint32_t { kIssued, kRunning, kDone };
  uint64_t seq = 0;   ///< from 1, over all collectives of the rank: equal numbers belong together
  Op op = Op::kBarrier;
  int64_t bytes = 0;  ///< of the buffer that every rank has
  State state = State::kIssued;
  double since = 0;   ///< when it came into this state
  Group group = Group::kWorld;  ///< of the ranks that take part

  const char* op_name() const {
    return std::array{"all_reduce", "reduce_scatter", "all_gather", "broadcast", "allocate", "barrier"}[static_cast<size_t>(op)];
  }
  const char* state_name() const { return std::array{"issued", "running", "done"}[static_cast<size_t>(state)]; }
};

inline double steady_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Zero-filled memory is an empty one.
class Journal {
 public:
  static constexpr uint64_t kKept = 64;

  /// Writer: a call begins. Its number.
  uint64_t issue(Collective::Op op, int64_t bytes, Group group = Group::kWorld) {
    const uint64_t seq = issued_.load(std::memory_order_relaxed) + 1;
    Slot& slot = slots_[seq % kKept];
    slot.seq.store(0, std::memory_order_relaxed);  // a reader that sees new values below sees 0 or the new number above
    std::atomic_thread_fence(std::memory_order_release);
    slot.op.store(op, std::memory_order_relaxed);
    slot.bytes.store(bytes, std::memory_order_relaxed);
    slot.group.store(group, std::memory_order_relaxed);
    slot.state.store(Collective::State::kIssued, std::memory_order_relaxed);
    slot.since.store(steady_seconds(), std::memory_order_relaxed);
    slot.seq.store(seq, std::memory_order_release);
    issued_.store(seq, std::memory_order_release);
    return seq;
  }

  /// Call number `seq`, if it is still kept. Also for a second thread, as far as it changes kRunning to kDone only.
  void set(uint64_t seq, Collective::State state) {
    Slot& slot = slots_[seq % kKept];
    if (slot.seq.load(std::memory_order_relaxed) != seq) return;
    slot.since.store(steady_seconds(), std::memory_order_relaxed);
    slot.state.store(state, std::memory_order_release);
  }

  uint64_t issued() const { return issued_.load(std::memory_order_acquire); }

  /// The last kKept, oldest first. One that is being overwritten meanwhile is left out.
  std::vector<Collective> last() const {
    std::vector<Collective> all;
    const uint64_t newest = issued();
    for (uint64_t seq = newest < kKept ? 1 : newest - kKept + 1; seq <= newest; ++seq) {
      const Slot& slot = slots_[seq % kKept];
      if (slot.seq.load(std::memory_order_acquire) != seq) continue;
      const Collective one{seq, slot.op.load(std::memory_order_relaxed), slot.bytes.load(std::memory_order_relaxed),
                           slot.state.load(std::memory_order_acquire), slot.since.load(std::memory_order_relaxed),
                           slot.group.load(std::memory_order_relaxed)};
      std::atomic_thread_fence(std::memory_order_acquire);
      if (slot.seq.load(std::memory_order_relaxed) == seq) all.push_back(one);
    }
    return all;
  }

 private:
  struct Slot {
    std::atomic<uint64_t> seq;  ///< 0: empty, or being written
    std::atomic<int64_t> bytes;
    std::atomic<double> since;
    std::atomic<Collective::Op> op;
    std::atomic<Collective::State> state;
    std::atomic<Group> group;
  };
  static_assert(std::atomic<double>::is_always_lock_free && std::atomic<Collective::Op>::is_always_lock_free, "processes share it");

  std::atomic<uint64_t> issued_;
  Slot slots_[kKept];
};

}  // namespace fmtrain
