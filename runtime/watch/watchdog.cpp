#include "runtime/watch/watchdog.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "runtime/watch/stack.h"

namespace fmtrain {
namespace {

/// Looks for findings of other ranks come so often, for the job ends soon after.
constexpr double kGlance = 0.5;
/// Seconds that the finder waits for the records of the other ranks of its node.
constexpr double kOthers = 2;
/// Nothing that hangs while a fault is recorded, a file system say, keeps the process longer.
constexpr auto kLastResort = std::chrono::seconds(10);

double now() { return steady_seconds(); }

void sleep(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

/// It knows better than its neighbours whom it waits for on another host, in a communicator that they are not of.
bool waits_across(const RankState& rank) {
  return rank.last.seq > 0 && rank.last.group == Group::kAcross && rank.last.state != Collective::State::kDone;
}

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

Watchdog::Watchdog(Seat* seats, int local_rank, int local_size, int rank, std::string host, const RunStatus& status, WatchOptions options, WatchActions actions)
    : seats_(seats), me_(local_rank), size_(local_size), host_(std::move(host)), status_(status), options_(options), actions_(std::move(actions)),
      pidfds_(static_cast<size_t>(local_size), -1), deadline_(options.limits, options.period) {
  seats_[me_].rank = rank;
  show();
  seats_[me_].pid = getpid();
  watch_stack_of_this_thread();
  thread_ = std::thread([this] { watch(); });
}

void Watchdog::stop() {
  if (!thread_.joinable()) return;
  seats_[me_].leaving = 1;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

Watchdog::~Watchdog() {
  stop();
  for (const int fd : pidfds_)
    if (fd >= 0) ::close(fd);
}

void Watchdog::show() {
  Seat& seat = seats_[me_];
  std::snprintf(seat.phase, sizeof seat.phase, "%s", status_.phase());
  seat.step = status_.step();
  seat.meetings = actions_.refresh();
  seat.beat = now();
}

std::vector<RankState> Watchdog::ranks() const {
  std::vector<RankState> all;
  for (int r = 0; r < size_; ++r)
    if (seats_[r].pid) all.push_back(state_of(seats_[r], now()));
  return all;
}

std::string Watchdog::dead_rank() {
  for (int r = 0; r < size_; ++r) {
    const auto pid = static_cast<pid_t>(seats_[r].pid.load());
    if (r == me_ || !pid || seats_[r].leaving) continue;
    int& fd = pidfds_[static_cast<size_t>(r)];
    if (fd < 0) fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (!ended(pid, fd) || seats_[r].leaving) continue;
    return describe(state_of(seats_[r], now()), host_) + ", has ended unexpectedly";
  }
  return {};
}

std::string Watchdog::hang() {
  const bool expired = deadline_.expired(now(), status_.phase(), status_.progress());
  if (!expired || expired_ == 0) expired_ = expired ? now() : 0;
  if (!expired) return {};
  const std::string waited = "nothing has moved for " + std::to_string(std::lround(deadline_.limit())) + " s in " + status_.phase() + ", step " +
                             std::to_string(status_.step());
  const double patience = 3 * options_.period + 1;
  const auto guilty = culprit(ranks(), patience);
  const auto elsewhere = options_.awaited();
  const bool idle = guilty && (guilty->stopped || guilty->silent > patience);
  const double expired_for = now() - expired_, grace = options_.period + 1;
  if (guilty && !idle && guilty->rank != seats_[me_].rank && waits_across(*guilty) && expired_for <= 2 * grace) return {};
  if (guilty && (idle || elsewhere.empty())) return waited + "; at fault: " + describe(*guilty, host_);
  if (elsewhere.empty()) return waited + "; no rank of " + host_ + " is behind the others";
  return expired_for > grace ? waited + "; " + elsewhere : "";
}

std::string Watchdog::lost_elsewhere() {
  const std::string why = options_.lost();
  lost_ = why.empty() ? 0 : lost_ + 1;
  return lost_ > 1 ? why : "";
}

const Seat* Watchdog::finder() const {
  for (int r = 0; r < size_; ++r)
    if (r != me_ && seats_[r].fault) return &seats_[r];
  return nullptr;
}

bool Watchdog::others_recorded() const {
  for (int r = 0; r < size_; ++r) {
    const auto pid = static_cast<pid_t>(seats_[r].pid.load());
    if (r == me_ || !pid || seats_[r].leaving || seats_[r].recorded) continue;
    if (!ended(pid, pidfds_[static_cast<size_t>(r)]) && !process_stopped(pid)) return false;
  }
  return true;
}

void Watchdog::await_records() const {
  for (const double start = now(); now() - start < kOthers && !others_recorded();) sleep(0.02);
}

Finding Watchdog::finding(ExitCode code, const std::string& reason, bool first) const {
  return {code, reason, first, ranks(), seats_[me_].journal.last()};
}

void Watchdog::raise(ExitCode code, const std::string& reason, bool first) {
  std::thread([code] {
    std::this_thread::sleep_for(kLastResort);
    ::_exit(static_cast<int>(code));
  }).detach();
  if (first) announce(code);
  Finding found = finding(code, reason, first);
  found.stack = stack();
  actions_.record(found);
  seats_[me_].recorded = 1;
  if (first) await_records();
  else sleep(2 * kOthers + options_.linger);  // the finder ends the job; this rank does if that fails
  sleep(options_.linger);
  actions_.end(code);
  ::_exit(static_cast<int>(code));
}

void Watchdog::watch() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  std::unique_lock lock(mutex_);
  double looked = now();
  while (!wake_.wait_for(lock, std::chrono::duration<double>(std::min(kGlance, options_.period)), [this] { return stop_; })) {
    if (const Seat* other = finder())
      raise(static_cast<ExitCode>(other->fault.load()), "rank " + std::to_string(other->rank) + " of this host found a fault and ends the job", false);
    if (const auto lost = lost_elsewhere(); !lost.empty()) raise(ExitCode::kPeerDied, lost, true);
    if (now() - looked < options_.period) continue;
    looked = now();
    show();
    if (const auto dead = dead_rank(); !dead.empty()) raise(ExitCode::kPeerDied, dead, true);
    if (const auto why = hang(); !why.empty()) raise(ExitCode::kHang, why, true);
  }
}

}  // namespace fmtrain
