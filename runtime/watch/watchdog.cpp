#include "runtime/watch/watchdog.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>

namespace fmtrain {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

bool ended(pid_t pid, int fd) {
  if (fd < 0) return kill(pid, 0) != 0 && errno == ESRCH;
  pollfd entry{fd, POLLIN, 0};
  return poll(&entry, 1, 0) > 0;
}

}  // namespace

void die_with_parent() {
  const pid_t parent = getppid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) raise(SIGKILL);  // it ended between the two lines
}

Watchdog::Watchdog(Seat* seats, int local_rank, int local_size, int rank, std::string host, const RunStatus& status, WatchOptions options, Alarm alarm)
    : seats_(seats), me_(local_rank), size_(local_size), host_(std::move(host)), status_(status), options_(options), alarm_(std::move(alarm)),
      pidfds_(static_cast<size_t>(local_size), -1), deadline_(options.limits, options.period) {
  seats_[me_].rank = rank;
  show();
  seats_[me_].pid = getpid();
  thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  seats_[me_].leaving = 1;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
  for (const int fd : pidfds_)
    if (fd >= 0) ::close(fd);
}

void Watchdog::show() {
  Seat& seat = seats_[me_];
  std::snprintf(seat.phase, sizeof seat.phase, "%s", status_.phase());
  seat.step = status_.step();
  seat.progress = status_.progress();
  seat.beat = now();
}

std::vector<RankState> Watchdog::ranks() const {
  std::vector<RankState> all;
  for (int r = 0; r < size_; ++r) {
    const Seat& s = seats_[r];
    const auto pid = static_cast<pid_t>(s.pid.load());
    if (pid) all.push_back({s.rank, pid, s.step, s.progress, now() - s.beat, process_stopped(pid), s.phase});
  }
  return all;
}

std::string Watchdog::dead_rank() {
  for (int r = 0; r < size_; ++r) {
    const auto pid = static_cast<pid_t>(seats_[r].pid.load());
    if (r == me_ || !pid || seats_[r].leaving) continue;
    int& fd = pidfds_[static_cast<size_t>(r)];
    if (fd < 0) fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (!ended(pid, fd) || seats_[r].leaving) continue;
    return describe({seats_[r].rank, pid, seats_[r].step, seats_[r].progress, 0, false, seats_[r].phase}, host_) + ", has ended unexpectedly";
  }
  return {};
}

std::string Watchdog::hang(const std::vector<RankState>& states) {
  const bool expired = deadline_.expired(now(), status_.phase(), status_.progress());
  if (!expired || expired_ == 0) expired_ = expired ? now() : 0;
  if (!expired) return {};
  const std::string waited = "nothing has moved for " + std::to_string(std::lround(deadline_.limit())) + " s in " + status_.phase() + ", step " +
                             std::to_string(status_.step());
  const double patience = 3 * options_.period + 1;
  const auto guilty = culprit(states, patience);
  const auto elsewhere = options_.awaited();
  if (guilty && (elsewhere.empty() || guilty->stopped || guilty->silent > patience)) return waited + "; at fault: " + describe(*guilty, host_);
  if (elsewhere.empty()) return waited + "; no rank of " + host_ + " is behind the others";
  return now() - expired_ > options_.period + 1 ? waited + "; " + elsewhere : "";
}

void Watchdog::watch() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, std::chrono::duration<double>(options_.period), [this] { return stop_; })) {
    show();
    if (const auto dead = dead_rank(); !dead.empty()) return alarm_(ExitCode::kPeerDied, dead, ranks());
    const auto states = ranks();
    if (const auto stuck = hang(states); !stuck.empty()) return alarm_(ExitCode::kHang, stuck, states);
  }
}

}  // namespace fmtrain
