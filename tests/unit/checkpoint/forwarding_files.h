// The real file system with single calls replaced.
#pragma once
#include "runtime/file_ops.h"

namespace fmtrain {

class ForwardingFiles : public FileOps {
 public:
  int create_exclusive(const std::string& path, int* fd) override { return real_.create_exclusive(path, fd); }
  int write(int fd, const void* data, size_t bytes) override { return real_.write(fd, data, bytes); }
  int fsync(int fd) override { return real_.fsync(fd); }
  int close(int fd) override { return real_.close(fd); }
  int make_dir(const std::string& path) override { return real_.make_dir(path); }
  int rename(const std::string& from, const std::string& to) override { return real_.rename(from, to); }
  int unlink(const std::string& path) override { return real_.unlink(path); }
  int remove_dir(const std::string& path) override { return real_.remove_dir(path); }
  int sync_dir(const std::string& path) override { return real_.sync_dir(path); }
  int open(const std::string& path, int* fd) override { return real_.open(path, fd); }
  int read(int fd, void* data, size_t bytes, int64_t offset) override { return real_.read(fd, data, bytes, offset); }
  int size(int fd, int64_t* bytes) override { return real_.size(fd, bytes); }
  int list(const std::string& path, std::vector<std::string>* names) override { return real_.list(path, names); }
  int space(const std::string& path, int64_t* free_bytes) override { return real_.space(path, free_bytes); }

 private:
  FileOps& real_ = posix_files();
};

}  // namespace fmtrain
