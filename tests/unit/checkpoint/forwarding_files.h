// Another file system with single calls replaced.
#pragma once
#include "runtime/file_ops.h"

namespace fmtrain {

class ForwardingFiles : public FileOps {
 public:
  explicit ForwardingFiles(FileOps& to = posix_files()) : to_(to) {}
  int create_exclusive(const std::string& path, int* fd) override { return next().create_exclusive(path, fd); }
  int write(int fd, const void* data, size_t bytes) override { return next().write(fd, data, bytes); }
  int fsync(int fd) override { return next().fsync(fd); }
  int close(int fd) override { return next().close(fd); }
  int make_dir(const std::string& path) override { return next().make_dir(path); }
  int rename(const std::string& from, const std::string& to) override { return next().rename(from, to); }
  int unlink(const std::string& path) override { return next().unlink(path); }
  int remove_dir(const std::string& path) override { return next().remove_dir(path); }
  int sync_dir(const std::string& path) override { return next().sync_dir(path); }
  int open(const std::string& path, int* fd) override { return next().open(path, fd); }
  int read(int fd, void* data, size_t bytes, int64_t offset) override { return next().read(fd, data, bytes, offset); }
  int size(int fd, int64_t* bytes) override { return next().size(fd, bytes); }
  int list(const std::string& path, std::vector<std::string>* names) override { return next().list(path, names); }
  int reserve(int fd, int64_t bytes) override { return next().reserve(fd, bytes); }
  int space(const std::string& path, int64_t* free_bytes) override { return next().space(path, free_bytes); }

 protected:
  virtual FileOps& next() { return to_; }  ///< asked before every call

 private:
  FileOps& to_;
};

}  // namespace fmtrain
