#include "comm/peers.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <optional>
#include <thread>

#include "comm/errors.h"

namespace fmtrain {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kSpin = std::chrono::microseconds(20), kNap = std::chrono::microseconds(50);
constexpr auto kYield = std::chrono::milliseconds(2), kCheck = std::chrono::milliseconds(50);
/// A gap between two checks that only a suspended process has.
constexpr auto kSuspended = std::chrono::seconds(5);

int cores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/// By number: glibc has a wrapper from 2.36 on only.
int open_pid(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

bool ended(pid_t pid, int fd) {
  if (fd < 0) return kill(pid, 0) != 0 && errno == ESRCH;
  pollfd entry{fd, POLLIN, 0};
  return poll(&entry, 1, 0) > 0;  // readable also while the process is a zombie
}

/// State letter T of proc(5), the field after the last ')'.
bool stopped(pid_t pid) {
  std::string line;
  std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/stat") >> std::ws, line);
  const auto end = line.rfind(')');
  return end != std::string::npos && end + 2 < line.size() && (line[end + 2] == 'T' || line[end + 2] == 't');
}

std::string seconds(std::chrono::duration<double> time) { return std::to_string(std::max<int64_t>(1, std::lround(time.count()))) + " s"; }

}  // namespace

/// The clocks of one wait.
struct Peers::Wait {
  Clock::time_point start, checked;
  std::optional<Clock::time_point> stopped_since;
};

Peers::Peer Peers::self(int rank) {
  struct stat space {};
  const bool known = stat("/proc/self/ns/pid", &space) == 0;
  return {rank, getpid(), known ? space.st_ino : 0};
}

Peers::Peers(std::vector<Peer> everyone, std::string host, std::chrono::duration<double> limit)
    : peers_(std::move(everyone)), host_(std::move(host)), limit_(limit), spin_(cores() >= static_cast<int>(peers_.size())) {
  std::erase_if(peers_, [me = self(0)](const Peer& p) { return p.pid_namespace != me.pid_namespace || p.pid == me.pid; });
  for (const auto& p : peers_) fds_.push_back(open_pid(p.pid));
}

Peers::~Peers() {
  for (const int fd : fds_)
    if (fd >= 0) ::close(fd);
}

const Peers::Peer* Peers::ended_peer() const {
  for (size_t i = 0; i < peers_.size(); ++i)
    if (ended(peers_[i].pid, fds_[i])) return &peers_[i];
  return nullptr;
}

const Peers::Peer* Peers::stopped_peer() const {
  for (const auto& p : peers_)
    if (stopped(p.pid)) return &p;
  return nullptr;
}

std::string Peers::name(int rank) const {
  const auto text = "rank " + std::to_string(rank) + " on " + host_;
  for (const auto& p : peers_)
    if (p.rank == rank) return text + " (process " + std::to_string(p.pid) + (stopped(p.pid) ? ", stopped)" : ")");
  return text;
}

void Peers::check(Wait& wait, const Describe& what) const {
  const auto now = Clock::now();
  if (now - wait.checked > kSuspended) wait = {now, now, {}};
  wait.checked = now;
  if (const auto* dead = ended_peer()) throw PeerDied(name(dead->rank) + " has ended while others wait for it in " + what());
  if (now - wait.start > limit_) throw PeerSilent("waited " + seconds(limit_) + " in " + what());
  if (now - wait.start < std::chrono::seconds(1)) return;
  const auto* sleeper = stopped_peer();
  if (!sleeper) wait.stopped_since.reset();
  else if (!wait.stopped_since) wait.stopped_since = now;
  else if (now - *wait.stopped_since > kStopped)
    throw PeerSilent(name(sleeper->rank) + " has been stopped for " + seconds(kStopped) + " while others wait in " + what());
}

void Peers::await(const std::function<bool()>& ready, const Describe& what, bool busy) const {
  if (ready()) return;
  const auto start = Clock::now();
  wait_until(ready, what, busy);
  waited_ += std::chrono::duration<double>(Clock::now() - start).count();
}

void Peers::wait_until(const std::function<bool()>& ready, const Describe& what, bool busy) const {
  const auto start = Clock::now();
  Wait wait{start, start, {}};
  while (!ready()) {
    const auto now = Clock::now();
    if (now - wait.checked > kCheck) {
      // A peer that did its share and then left is no fault, so ready() has the last word.
      try {
        check(wait, what);
      } catch (...) {
        if (ready()) return;
        throw;
      }
    }
    if (spin_ && now - start < kSpin) continue;
    if (busy || now - start < kYield) sched_yield();
    else std::this_thread::sleep_for(kNap);
  }
}

}  // namespace fmtrain
