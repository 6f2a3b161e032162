// Files below one directory, whatever somebody does to the directories in between: a name is resolved part by part from the directory
// itself, which is opened once, and a link on the way or at the end is refused (ELOOP, ENOTDIR), not followed. So a directory that is
// swapped for a link between two calls, or inside of one, gets nothing read, written or removed elsewhere.
//
// Links above the directory, and the directory's own name, are the user's and are followed when it is opened. It is held from then on:
// what happens to its name moves nothing.
#pragma once
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "runtime/file_ops.h"

namespace fmtrain {

class RootedFiles final : public FileOps {
 public:
  /// `root` may be made later, with make_dir(root). `inner` does the calls and outlives this; names of /proc/self/fd reach it.
  RootedFiles(FileOps& inner, std::string root) : inner_(inner), root_(std::move(root)) {}
  ~RootedFiles() override;
  RootedFiles(const RootedFiles&) = delete;
  RootedFiles& operator=(const RootedFiles&) = delete;

  int create_exclusive(const std::string& path, int* fd) override;
  int make_dir(const std::string& path) override;
  int rename(const std::string& from, const std::string& to) override;
  int exchange(const std::string& a, const std::string& b) override;
  int unlink(const std::string& path) override;
  int remove_dir(const std::string& path) override;
  int sync_dir(const std::string& path) override;
  int open(const std::string& path, int* fd) override;  ///< as open_plain
  int open_plain(const std::string& path, int* fd) override;
  int list(const std::string& path, std::vector<std::string>* names) override;
  int space(const std::string& path, int64_t* free_bytes) override;
  int write(int fd, const void* data, size_t bytes) override { return inner_.write(fd, data, bytes); }
  int fsync(int fd) override { return inner_.fsync(fd); }
  int close(int fd) override { return inner_.close(fd); }
  int read(int fd, void* data, size_t bytes, int64_t offset) override { return inner_.read(fd, data, bytes, offset); }
  int size(int fd, int64_t* bytes) override { return inner_.size(fd, bytes); }
  int reserve(int fd, int64_t bytes) override { return inner_.reserve(fd, bytes); }
  int modified(int fd, int64_t* nanoseconds) override { return inner_.modified(fd, nanoseconds); }
  int touch(int fd) override { return inner_.touch(fd); }

 private:
  struct Name;
  /// Opens what lies above the last part of `path`. A path outside the root (its parent, which a sync needs) stays as it is.
  int resolve(const std::string& path, Name* name);
  /// Opens all of `path`, a directory.
  int resolve_directory(const std::string& path, Name* name);
  int open_root(int* fd);

  FileOps& inner_;
  const std::string root_;
  std::mutex mutex_;  ///< saves and training open it at one moment
  int root_fd_ = -1;
};

}  // namespace fmtrain
