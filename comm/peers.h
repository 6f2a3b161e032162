// Waiting for other processes without burning a core for long, without waiting for the dead, and not for ever.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace fmtrain {

/// The processes of this host that this rank may have to wait for. Holds a pidfd of each, which tells an ended process from a
/// reused pid.
class Peers {
 public:
  struct Peer {
    int rank;
    pid_t pid;
    uint64_t pid_namespace;  ///< the same pid in another namespace is another process: such peers are not watched
  };
  /// This process, for the others.
  static Peer self(int rank);
  /// `everyone` on this host. `limit`: longest wait for anything.
  Peers(std::vector<Peer> everyone, std::string host, std::chrono::duration<double> limit);
  ~Peers();
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  /// What a wait is for, asked only when it fails: "all_reduce of 8 Float, op 0; missing: rank 1 ...".
  using Describe = std::function<std::string()>;
  /// Returns when ready() is true. Spins for some 20 us (not when there are fewer cores than ranks), gives the core away for
  /// 2 ms, then sleeps 50 us at a time, or never if `busy` (MPI moves data only while it is asked). If ready() stays false:
  /// throws PeerDied at most 0.1 s after a peer's end, PeerSilent after the limit or once a peer was stopped for kStopped.
  /// Time during which this process itself was suspended does not count.
  void await(const std::function<bool()>& ready, const Describe& what, bool busy = false) const;
  /// Seconds spent in await(), of all calls that did not return at once.
  double waited() const { return waited_; }
  /// "rank 3 on host (process 77)", with "stopped" if it is.
  std::string name(int rank) const;

  static constexpr std::chrono::seconds kStopped{60};

 private:
  struct Wait;
  void check(Wait& wait, const Describe& what) const;
  void wait_until(const std::function<bool()>& ready, const Describe& what, bool busy) const;
  const Peer* ended_peer() const;
  const Peer* stopped_peer() const;

  std::vector<Peer> peers_;  ///< watched ones
  std::vector<int> fds_;     ///< -1: the system gives none (old kernel); then kill(pid, 0) is asked
  std::string host_;
  std::chrono::duration<double> limit_;
  bool spin_;
  mutable double waited_ = 0;
};

}  // namespace fmtrain
