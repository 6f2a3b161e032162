#include "runtime/preflight/storage.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>

#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/pages.h"
#include "runtime/preflight/gather.h"

namespace fmtrain {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kBlock = 4 << 20, kMostWritten = 64 << 20;
constexpr double kLongest = 2;                      ///< seconds of writing
constexpr std::chrono::seconds kVisible{5};         ///< until another host must see a file
constexpr const char* kFix = "choose another run.dir, on storage that all hosts can write";

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// run_dir, or the nearest directory above it that exists.
std::string existing(const std::string& run_dir) {
  std::error_code error;
  fs::path path = fs::absolute(run_dir);
  while (!fs::exists(path, error) && path.has_relative_path()) path = path.parent_path();
  return path.string();
}

std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, value < 10 ? "%.1f" : "%.0f", value);
  return buffer;
}

/// One rank's part. A call that failed is kept with what it was for; nothing is thrown.
class Probe {
 public:
  Probe(FileOps& files, std::string dir, int rank) : files_(files), dir_(std::move(dir)), rank_(rank) {}

  /// On rank 0: the folder, with `token` under a name that it got by a rename.
  void publish(const std::string& token) {
    int fd = -1;
    tried(files_.make_dir(dir_), "make a directory") && tried(files_.create_exclusive(dir_ + "/first", &fd), "create a file") &&
        tried(files_.write(fd, token.data(), token.size()), "write") && tried(files_.fsync(fd), "fsync");
    if (fd >= 0) tried(files_.close(fd), "close");
    if (fault_.empty())
      tried(files_.rename(dir_ + "/first", dir_ + "/second"), "rename") && tried(files_.sync_dir(dir_), "fsync the directory");
  }

  /// Until the renamed file is seen whole, and the old name is not.
  void see(const std::string& token) {
    for (const double start = now(); now() - start < static_cast<double>(kVisible.count());
         std::this_thread::sleep_for(std::chrono::milliseconds(100))) {
      std::string found;
      try {
        found = read_file(files_, dir_ + "/second", 1 << 10);
      } catch (const std::exception&) {
      }
      int fd = -1;
      const int error = files_.open(dir_ + "/first", &fd);
      if (error == 0) files_.close(fd);
      if (found == token && error == ENOENT) return;
    }
    fault_ = "does not see, after " + std::to_string(kVisible.count()) + " s, what rank 0 wrote and renamed in " + dir_ +
             ": not the same storage?";
  }

  void reserve(int64_t bytes) {
    if (!fault_.empty() || bytes == 0) return;
    const std::string file = dir_ + "/room-" + std::to_string(rank_);
    int fd = -1;
    if (!tried(files_.create_exclusive(file, &fd), "create a file")) return;
    const int error = files_.reserve(fd, bytes);
    reserved_ = error != ENOSYS && error != EOPNOTSUPP && error != EINVAL;
    if (reserved_) tried(error, "take " + std::to_string(bytes) + " bytes");
    files_.close(fd);
    files_.unlink(file);
  }

  void write() {
    if (!fault_.empty()) return;
    auto block = page_memory(kBlock, false).fill_(1);
    int fd = -1;
    const double start = now();
    if (!tried(files_.create_exclusive(written(rank_), &fd), "create a file")) return;
    while (bytes_ < kMostWritten && now() - start < kLongest &&
           tried(files_.write(fd, block.data_ptr(), static_cast<size_t>(kBlock)), "write"))
      bytes_ += kBlock;
    tried(files_.fsync(fd), "fsync");
    tried(files_.close(fd), "close");
    rate_ = 1e-6 * static_cast<double>(bytes_) / std::max(now() - start, 1e-6);
  }

  /// On rank 0, what another rank wrote.
  void measure(int rank, int64_t bytes) {
    int fd = -1;
    int64_t found = -1;
    if (!tried(files_.open(written(rank), &fd), "open what rank " + std::to_string(rank) + " wrote")) return;
    files_.size(fd, &found);
    files_.close(fd);
    if (found != bytes)
      fault_ = "rank 0 sees " + std::to_string(found) + " of the " + std::to_string(bytes) + " bytes that rank " +
               std::to_string(rank) + " wrote and closed";
  }

  void remove() { remove_tree(files_, dir_); }
  const std::string& fault() const { return fault_; }
  Json facts() const { return {{"fault", fault_}, {"bytes", bytes_}, {"rate", rate_}, {"reserved", reserved_}}; }

 private:
  std::string written(int rank) const { return dir_ + "/of-" + std::to_string(rank); }
  bool tried(int error, const std::string& what) {
    if (error && fault_.empty()) fault_ = "cannot " + what + " in " + dir_ + ": " + std::strerror(error);
    return error == 0;
  }

  FileOps& files_;
  std::string dir_;
  int rank_;
  std::string fault_;
  int64_t bytes_ = 0;
  double rate_ = 0;
  bool reserved_ = true;
};

std::string nonce() {
  return std::to_string(getpid()) + "-" + std::to_string(std::chrono::system_clock::now().time_since_epoch().count());
}

/// On rank 0, what all ranks have tried.
void collect(const std::vector<Json>& all, Probe& probe, StorageFigures& figures) {
  for (size_t rank = 0; rank < all.size(); ++rank) {
    const auto& f = all[rank];
    const std::string fault = f.at("fault");
    figures.rate += f.at("rate").get<double>();
    figures.reserved = figures.reserved && f.at("reserved").get<bool>();
    if (!fault.empty()) figures.faults.push_back("rank " + std::to_string(rank) + " " + fault);
    else if (f.at("bytes") > 0) probe.measure(static_cast<int>(rank), f.at("bytes"));
  }
  if (figures.faults.empty() && !probe.fault().empty()) figures.faults.push_back(probe.fault());
}

/// On rank 0. Bytes of keep + 1 checkpoints, less those that are there.
int64_t needed_bytes(FileOps& files, const StorageWanted& wanted) {
  std::vector<std::string> names;
  const std::string dir = wanted.run_dir + "/checkpoints";
  const auto there =
      files.list(dir, &names) == 0 ? std::min<int64_t>(std::ssize(checkpoint_steps(files, dir)), wanted.keep) : 0;
  return std::llround(1.1 * static_cast<double>(wanted.checkpoint) * static_cast<double>(wanted.keep + 1 - there));
}

/// On rank 0.
Row judge_lock(FileOps& files, const StorageWanted& wanted, const std::string& dir) try {
  Row row{"lock", Status::kOk, "can be taken; nobody else has run.dir", ""};
  std::string why;
  if (!RunLock(files, dir, wanted.me).still_mine(&why)) throw StorageError(why);
  std::error_code error;
  if (!fs::exists(wanted.run_dir, error) || !RunLock::is_held(files, wanted.run_dir, wanted.me)) return row;
  return {"lock", Status::kFailed, wanted.run_dir + ": another run works there",
          "wait for it or stop it, or give this run another run.dir", ExitCode::kLocked};
} catch (const Error& error) {
  return {"lock", Status::kFailed, error.what(), kFix, error.code()};
}

}  // namespace

Row judge_storage(const StorageFigures& f) {
  Row row{"storage", Status::kOk, "", "", ExitCode::kStorage};
  row.values = {{"dir", f.place},          {"free", f.free},           {"needed", f.needed}, {"checkpoint", f.checkpoint},
                {"mb_per_second", f.rate}, {"quota_tried", f.reserved}};
  const auto megabytes = [](int64_t bytes) { return text(1e-6 * static_cast<double>(bytes)) + " MB"; };
  row.found = (f.free < 0 ? std::string("free space unknown") : megabytes(f.free) + " free") + ", checkpoints take " +
              megabytes(f.needed) + "; " + (f.rate > 0 ? text(f.rate) + " MB/s written" : std::string("not measured")) +
              (f.reserved ? "" : "; a quota cannot be tried here");
  if (f.free >= 0 && f.free < f.needed) {
    row.status = Status::kFailed;
    row.fix = "make room, lower checkpoint.keep, or choose another run.dir";
  }
  if (f.faults.empty()) return row;
  row.status = Status::kFailed;
  row.found = f.faults[0];
  row.details.assign(f.faults.begin() + 1, f.faults.end());
  row.fix = kFix;
  return row;
}

std::vector<Row> check_storage(Communicator& comm, FileOps& files, const StorageWanted& wanted) {
  const bool first = comm.rank() == 0;
  const Json plan = rank_zeros(comm, {{"place", existing(wanted.run_dir)}, {"token", nonce()}});
  const std::string token = plan.at("token"), place = plan.at("place"), dir = place + "/.fmtrain-check-" + token;
  StorageFigures figures{place, {}, -1, 0, wanted.checkpoint};
  Probe probe(files, dir, comm.rank());
  if (first) probe.publish(token);
  const std::string unusable = rank_zeros(comm, first ? probe.fault() : "");
  if (unusable.empty()) {
    if (wanted.leader) probe.see(token);
    probe.reserve((wanted.checkpoint + comm.size() - 1) / comm.size());
    if (wanted.leader) probe.write();
    const auto all = gather_json(comm, probe.facts());
    if (first) collect(all, probe, figures);
  } else figures.faults.push_back(unusable);
  Json rows = Json::array();
  if (first) {
    if (files.space(place, &figures.free) != 0) figures.free = -1;
    figures.needed = needed_bytes(files, wanted);
    rows.push_back(row_json(judge_storage(figures)));
    rows.push_back(
        row_json(unusable.empty() ? judge_lock(files, wanted, dir) : Row{"lock", Status::kNotRun, "needs storage", ""}));
    probe.remove();
  }
  std::vector<Row> agreed;
  for (const auto& row : rank_zeros(comm, rows)) agreed.push_back(row_from_json(row));
  return agreed;
}

}  // namespace fmtrain
