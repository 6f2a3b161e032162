// The ranks of one node: memory that all of them see, and a board on which each one says how far it has come.
#pragma once
#include <mpi.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/group.h"
#include "comm/peers.h"

namespace fmtrain {

/// The same number of bytes for every rank of a node, or the same bytes, mapped by all (an MPI-3 shared window). Zero-filled.
struct SharedWindow {
  MPI_Win handle = MPI_WIN_NULL;
  std::vector<char*> base;  ///< of each local rank, 64-byte aligned; in a shared window all the same
  size_t bytes = 0;
  bool shared = false;      ///< one memory for all ranks of the node
};

/// What a rank calls, and where the memory lies that its peers may touch.
struct Call {
  enum Kind : int32_t { kAllReduce, kReduceScatter, kAllGather, kBroadcast, kAllocate, kBarrier };
  Kind kind;
  int32_t detail;         ///< ReduceOp or root
  int32_t dtype;
  int32_t window = -1;    ///< number of the window, -1: in no window
  int64_t numel;          ///< of the buffer that every rank has
  int64_t offset = 0;     ///< bytes into the window
  bool same(const Call& other) const;
  std::string text() const;
};

/// Calls that may be in flight at a time.
constexpr uint64_t kRing = 64;

/// Who a rank is to people, whatever its number in a communicator.
struct Member {
  int world_rank;
  std::string host;
};

/// Bytes of /dev/shm: free before the first window of this process; of all its windows, touched or not.
struct Promises {
  uint64_t room_at_first = 0, given = 0;
};

class Node {
 public:
  /// Collective over `comm`, which lies inside one host and belongs to the node from now on; `ranks`: of each member, in the
  /// communicator that the node is a part of; `members`: all ranks of that. `promises`: of the process. `limit`: longest wait for a rank.
  Node(MPI_Comm comm, std::vector<int> ranks, std::vector<Member> members, Group group, std::shared_ptr<Promises> promises,
       std::chrono::duration<double> limit);
  int rank() const { return me_; }
  /// In the communicator that the node is a part of.
  int outer_rank() const { return ranks_[static_cast<size_t>(me_)]; }
  int size() const { return static_cast<int>(ranks_.size()); }
  const Peers& peers() const { return *peers_; }

  /// Collective. `shared`: the bytes exist once, not once a rank. Throws CommError, on every rank, if /dev/shm has not enough
  /// room.
  const SharedWindow& allocate(size_t bytes, bool shared = false);
  const SharedWindow& window(int32_t number) const { return windows_[static_cast<size_t>(number)]; }
  /// Number of the window that holds these bytes of this rank, and the offset in it; {-1, 0} if none does.
  std::pair<int32_t, int64_t> find(const void* data, size_t bytes) const;

  /// Says that this rank's buffers of call number `seq` (1, 2, ...) are ready. Never blocks. At most kRing calls may be open.
  void publish(uint64_t seq, const Call& call);
  const Call& own(uint64_t seq) const;
  /// The calls number `seq` of every local rank, once all have published theirs. Throws CallsDiffer, on all, if they differ.
  std::vector<Call> gather(uint64_t seq) const;
  /// Barrier of the node, inside call number `seq`.
  void sync(uint64_t seq);
  /// Says that this rank waits for one of another node, or no longer (-1).
  void awaits(int rank);
  /// Whom this node's ranks wait for on other nodes: "rank 0 on a waits for rank 2 on b; ...", empty: nobody. For any thread.
  std::string awaited() const;
  /// "rank 2 on b", of any rank of the communicator; the number is that in the world.
  std::string name(int rank) const;
  /// Barriers that this rank has reached; for any thread.
  uint64_t syncs() const;
  /// Frees the windows; collective. Without it they live until the process ends.
  void close();

 private:
  struct Seat;
  Seat& seat(int local) const { return *seats_[static_cast<size_t>(local)]; }
  const Member& member(int local) const { return members_[static_cast<size_t>(ranks_[static_cast<size_t>(local)])]; }
  /// "rank 2 on b" of whom a local rank waits for, or "".
  std::string awaited_by(int local) const;
  std::string missing(uint64_t seq, const std::function<bool(const Seat&)>& arrived) const;
  std::string difference(uint64_t seq, const std::vector<Call>& calls) const;

  MPI_Comm comm_;
  std::vector<int> ranks_;
  std::vector<Member> members_;
  Group group_;
  int me_ = 0;
  uint64_t phase_ = 0;
  std::unique_ptr<Peers> peers_;
  std::shared_ptr<Promises> promises_;
  std::vector<SharedWindow> windows_;  ///< the first one is the board
  std::vector<Seat*> seats_;           ///< on it
};

}  // namespace fmtrain
