// The real file system whose calls can be made to fail (SQLite's method: call i fails, for i = 1.. until a run is clean).
#pragma once
#include <functional>

#include "runtime/file_ops.h"

namespace fmtrain {

class FailFiles final : public FileOps {
 public:
  /// From call `first` on (counted from 1; 0: never), calls return `error`: that one alone, or all of them.
  void fail_at(int64_t first, int error, bool from_then_on = false);
  /// Before call `at` (counted from 1), `action` is done: another process that comes in between, or the end of this one.
  void interrupt_at(int64_t at, std::function<void()> action);
  int64_t calls() const { return calls_; }  ///< since fail_at
  bool failed() const { return failed_; }   ///< a call was made to fail since fail_at
  int64_t open_files() const { return open_; }

  int create_exclusive(const std::string& path, int* fd) override;
  int write(int fd, const void* data, size_t bytes) override;
  int fsync(int fd) override;
  int close(int fd) override;
  int make_dir(const std::string& path) override;
  int rename(const std::string& from, const std::string& to) override;
  int unlink(const std::string& path) override;
  int remove_dir(const std::string& path) override;
  int sync_dir(const std::string& path) override;
  int open(const std::string& path, int* fd) override;
  int read(int fd, void* data, size_t bytes, int64_t offset) override;
  int size(int fd, int64_t* bytes) override;
  int list(const std::string& path, std::vector<std::string>* names) override;
  int space(const std::string& path, int64_t* free_bytes) override;
  int modified(int fd, int64_t* nanoseconds) override;
  int touch(int fd) override;
  int is_at(int fd, const std::string& path, bool* is) override;

 private:
  int next();
  int64_t first_ = 0, calls_ = 0, open_ = 0;
  int error_ = 0;
  bool from_then_on_ = false, failed_ = false;
  int64_t interrupt_at_ = 0;
  std::function<void()> action_;
};

}  // namespace fmtrain
