#include "runtime/run_lock.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <random>
#include <sstream>
#include <utility>
#include <vector>

#include "runtime/errors.h"
#include "runtime/json.h"

namespace fmtrain {

/// Not in the anonymous namespace, for RunLock::Seen holds one.
struct LockOwner {
  LockIdentity process;
  std::string nonce;
  int64_t generation = 0;
};

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kLimit = 4096;
constexpr const char* kReleased = "{\"released\":true}\n";  ///< second line, appended: a torn one does not count
constexpr int64_t kLargestGeneration = int64_t{1} << 53;
constexpr std::chrono::milliseconds kBetweenTries{10};
constexpr int kMostClaims = 100;  ///< lock.json.next-K, each of a starter that ended between two calls

std::string random_name() {
  std::random_device random;
  char digits[33];
  std::snprintf(digits, sizeof digits, "%08x%08x%08x%08x", random(), random(), random(), random());
  return digits;
}

std::string dump(const LockOwner& o) {
  const Json json{{"host", o.process.host}, {"pid", o.process.pid}, {"started", o.process.started}, {"pid_space", o.process.pid_space},
                  {"job", o.process.job}, {"restart", o.process.restart}, {"nonce", o.nonce}, {"generation", o.generation}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string text_member(const Json& json, const char* name) {
  if (!json.contains(name) || !json.at(name).is_string()) throw std::runtime_error(std::string(name) + " is not a text");
  return json.at(name).get<std::string>();
}

uint64_t number_member(const Json& json, const char* name, uint64_t first, uint64_t last) {
  if (!json.contains(name) || !json.at(name).is_number_unsigned()) throw std::runtime_error(std::string(name) + " is not a whole number");
  const auto value = json.at(name).get<uint64_t>();
  if (value < first || value > last) throw std::runtime_error(std::string(name) + " is out of range");
  return value;
}

/// Throws std::runtime_error that says what is wrong.
LockOwner parse_owner(const std::string& line) {
  const Json json = parse_json(line, {kLimit, 2});
  if (!json.is_object()) throw std::runtime_error("not an object");
  LockOwner o{{text_member(json, "host"), static_cast<int64_t>(number_member(json, "pid", 1, INT32_MAX)),
               number_member(json, "started", 0, UINT64_MAX), text_member(json, "pid_space"), text_member(json, "job"),
               static_cast<int64_t>(number_member(json, "restart", 0, INT32_MAX))},
              text_member(json, "nonce"),
              static_cast<int64_t>(number_member(json, "generation", 1, kLargestGeneration))};
  if (o.nonce.empty()) throw std::runtime_error("nonce is empty");
  return o;
}

struct ProcessStat {
  char state = '?';
  uint64_t started = 0;
};

/// Of /proc/PID/stat; nothing when it cannot be read. Fields 3 and 22, the second one after a name that may hold anything (proc(5)).
std::optional<ProcessStat> process_stat(int64_t pid) {
  std::ostringstream all;
  all << std::ifstream("/proc/" + std::to_string(pid) + "/stat").rdbuf();
  const std::string text = all.str();
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  ProcessStat stat;
  fields >> stat.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  if (!(fields >> stat.started)) return std::nullopt;
  return stat;
}

/// Of a process of our pid space. One that was killed and not yet waited for (Z, X) has ended.
bool has_ended(const LockIdentity& p) {
  const auto stat = process_stat(p.pid);
  if (!stat) return ::kill(static_cast<pid_t>(p.pid), 0) != 0 && errno == ESRCH;  // EPERM: another user's
  return stat->started != p.started || stat->state == 'Z' || stat->state == 'X';
}

bool is_same(const LockIdentity& a, const LockIdentity& b) {
  return a.pid == b.pid && a.started == b.started && a.pid_space == b.pid_space && a.host == b.host;
}

/// Known without waiting for the lease to run out.
bool is_over(const LockIdentity& owner, const LockIdentity& me) {
  const bool earlier = !me.job.empty() && owner.job == me.job && owner.restart < me.restart;
  const bool visible = !me.pid_space.empty() && owner.pid_space == me.pid_space;
  return visible ? has_ended(owner) : earlier;
}

std::string owner_text(const LockIdentity& p) {
  return "process " + std::to_string(p.pid) + " on " + quoted(p.host) + (p.job.empty() ? "" : ", job " + quoted(p.job));
}

}  // namespace

LockIdentity this_process(const std::string& host, const std::string& job, int64_t restart) {
  LockIdentity me;
  me.host = host.substr(0, 200);
  me.pid = ::getpid();
  if (const auto stat = process_stat(me.pid)) me.started = stat->started;
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  char name_space[64];
  const auto length = ::readlink("/proc/self/ns/pid", name_space, sizeof name_space);
  if (me.started && !boot.empty() && length > 0) me.pid_space = boot + " " + std::string(name_space, static_cast<size_t>(length));
  me.job = job.substr(0, 200);
  me.restart = std::clamp<int64_t>(restart, 0, INT32_MAX);
  return me;
}

/// What lock.json or lock.json.next-K said when it was read.
struct RunLock::Seen {
  std::string path;
  bool there = false;
  int64_t modified = 0;            ///< nanoseconds
  std::string text;                ///< "" when longer than kLimit
  std::optional<LockOwner> owner;  ///< nothing: not understood, see `why`
  bool released = false, empty = false;
  std::string why;

  bool is_of(const std::string& nonce) const { return owner && owner->nonce == nonce; }
  bool operator==(const Seen& other) const { return there == other.there && modified == other.modified && text == other.text; }
};

RunLock::RunLock(Untaken, FileOps& files, const std::string& run_dir, LockIdentity me, LockTimes times)
    : files_(files), dir_(run_dir), path_(dir_ + "/lock.json"), me_(std::move(me)), times_(times), nonce_(random_name()) {}

bool RunLock::is_held(FileOps& files, const std::string& run_dir, LockIdentity me, LockTimes times) {
  const RunLock untaken(Untaken{}, files, run_dir, std::move(me), times);
  const Seen lock = untaken.look(untaken.path_);
  const bool ours = lock.owner && is_same(lock.owner->process, untaken.me_);
  return !ours && !untaken.holder(lock).empty();
}

RunLock::RunLock(FileOps& files, const std::string& run_dir, LockIdentity me, LockTimes times)
    : RunLock(Untaken{}, files, run_dir, std::move(me), times) {
  const auto patience_ends = Clock::now() + times_.patience;
  for (;;) {
    const Seen lock = look(path_);
    std::string by = holder(lock);
    const bool held = !by.empty();
    if (!held && take(lock, &by)) break;
    if ((held && lock.owner) || Clock::now() >= patience_ends)
      throw Error(ExitCode::kLocked, (by.empty() ? path_ + ": other runs are starting" : by) +
                  "; wait for that run or stop it, or choose another run.dir. A lock that is not renewed for " +
                  std::to_string(std::llround(times_.stale.count())) + " s is taken over");
    std::this_thread::sleep_for(kBetweenTries);
  }
  clean_up();
  try {
    thread_ = std::thread([this] { renew(); });
  } catch (...) {
    release();
    throw;
  }
}

RunLock::~RunLock() {
  if (!thread_.joinable()) return;  // never taken
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
  release();
}

bool RunLock::still_mine(std::string* why) {
  std::string reason;
  try {
    const Seen now = look(path_);
    if (now.is_of(nonce_)) {
      files_.touch(fd_);
      return true;
    }
    reason = path_ + (!now.there ? ": the lock of this run is gone"
                      : now.owner ? ": this run was taken over by " + owner_text(now.owner->process)
                                  : ": the lock of this run was overwritten: " + quoted(now.why));
  } catch (const StorageError& error) {
    reason = error.what();
  }
  if (why) *why = reason;
  return false;
}

/// Opening again makes a network file system ask its server. It may still answer ESTALE when the file is replaced meanwhile.
RunLock::Seen RunLock::look(const std::string& path) const {
  Seen seen;
  seen.path = path;
  int error = ESTALE;
  for (int tries = 0; error == ESTALE && tries < 3; ++tries) {
    int fd = -1;
    error = files_.open_plain(path, &fd);
    if (error == ENOENT) return seen;
    if (error) continue;
    int64_t bytes = 0;
    error = files_.modified(fd, &seen.modified);
    if (!error) error = files_.size(fd, &bytes);
    seen.text.clear();
    seen.empty = bytes == 0;
    seen.why = bytes > static_cast<int64_t>(kLimit) ? "longer than " + std::to_string(kLimit) + " bytes" : "";
    if (!error && seen.why.empty()) {
      seen.text.resize(static_cast<size_t>(bytes));
      error = files_.read(fd, seen.text.data(), seen.text.size(), 0);
    }
    files_.close(fd);
  }
  require_success(error, path, "read");
  seen.there = true;
  if (!seen.why.empty()) return seen;
  const auto line_end = seen.text.find('\n');
  try {
    seen.owner = parse_owner(seen.text.substr(0, line_end));
    seen.released = line_end != std::string::npos && seen.text.compare(line_end + 1, std::string::npos, kReleased) == 0;
  } catch (const std::exception& e) {
    seen.why = e.what();
  }
  return seen;
}

/// Who must not be disturbed; "" when the file can be taken over.
std::string RunLock::holder(const Seen& file) const {
  if (!file.there || file.released || (file.owner && is_over(file.owner->process, me_))) return "";
  const double age = static_cast<double>(file_server_time() - file.modified) * 1e-9;
  const bool unwritten = file.path != path_ && file.empty;  // its starter was killed before it wrote
  if (age >= (unwritten ? times_.claim : times_.stale).count()) return "";
  const std::string ago = std::to_string(std::llround(std::max(age, 0.0))) + " s ago";
  if (!file.owner)
    return file.path + ": cannot be understood (" + quoted(file.why) + "), changed " + ago + "; remove it if no run uses this directory";
  return file.path + ": in use by " + owner_text(file.owner->process) + ", which renewed its lock " + ago;
}

/// Nanoseconds: the modification time of a file written now.
int64_t RunLock::file_server_time() const {
  const std::string path = path_ + ".clock-" + random_name();
  int fd = -1;
  require_success(files_.create_exclusive(path, &fd), path, "create");
  int64_t time = 0;
  int error = files_.write(fd, "\n", 1);
  if (!error) error = files_.fsync(fd);
  if (!error) error = files_.modified(fd, &time);
  const int closed = files_.close(fd);
  files_.unlink(path);
  require_success(error ? error : closed, path, "write");
  return time;
}

/// Replaces the lock file that was judged. False: another starter was faster, or is at work (`by` says which).
bool RunLock::take(const Seen& judged, std::string* by) {
  std::string claim;
  int error = EEXIST;
  for (int k = 1; error == EEXIST && k <= kMostClaims; ++k) {
    claim = path_ + ".next-" + std::to_string(k);
    error = files_.create_exclusive(claim, &fd_);
    if (error != EEXIST) break;
    const Seen other = look(claim);
    *by = holder(other);
    if (!other.there || !by->empty()) return false;  // the next K only after one that ended
  }
  require_success(error, claim, "create");
  bool taken = false;
  try {
    taken = replace(judged, claim, &error);
  } catch (...) {
    drop(claim);
    throw;
  }
  if (taken) return true;
  drop(claim);
  require_success(error, path_, "write");
  return false;
}

/// By its name only while that is ours: who took this starter for dead has removed the file, and another starter's may stand there.
void RunLock::drop(const std::string& claim) {
  bool ours = false;
  if (files_.is_at(fd_, claim, &ours) == 0 && ours) files_.unlink(claim);
  release();
}

/// Fills `with` and renames it to lock.json. False with *error 0: the judgement no longer holds.
bool RunLock::replace(const Seen& judged, const std::string& with, int* error) {
  generation_ = std::min(judged.owner ? judged.owner->generation + 1 : 1, kLargestGeneration);
  const std::string text = dump({me_, nonce_, generation_});
  *error = files_.write(fd_, text.data(), text.size());
  if (!*error) *error = files_.fsync(fd_);
  bool ours = false;
  if (!*error) *error = files_.is_at(fd_, with, &ours);
  if (*error || !ours || !(look(path_) == judged)) return false;
  *error = files_.rename(with, path_);
  if (!look(path_).is_of(nonce_)) return false;
  *error = files_.sync_dir(dir_);
  return *error == 0;
}

/// What killed starters left. A clock file that one still needs it has open; a claim goes only if its starter ended.
void RunLock::clean_up() const try {
  std::vector<std::string> names;
  files_.list(dir_, &names);
  for (const auto& name : names) {
    const std::string path = dir_ + "/" + name;
    if (name.starts_with("lock.json.clock-") || (name.starts_with("lock.json.next-") && holder(look(path)).empty())) files_.unlink(path);
  }
} catch (const StorageError&) {  // the next owner removes it
}

void RunLock::renew() {
  bool failed = false;
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, times_.renew, [this] { return stop_; })) {
    const int error = files_.touch(fd_);
    if (error && !failed)
      std::fprintf(stderr, "fmtrain: warning: %s: cannot be renewed: %s; another start may take this run over\n", path_.c_str(),
                   std::strerror(error));
    failed = error != 0;
  }
}

/// Nobody else's file can be reached from here: only ours is written to.
void RunLock::release() {
  if (files_.write(fd_, kReleased, std::strlen(kReleased)) == 0) files_.fsync(fd_);
  files_.close(fd_);
  fd_ = -1;
}

}  // namespace fmtrain
