#include "tests/support/system_calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>

namespace fmtrain {
namespace {

thread_local SystemFaults* current = nullptr;  // whose call this thread is in
std::atomic<bool> killed = false;

std::string path_of(int fd) {
  char path[4096];
  const ssize_t n = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path);
  return {path, n < 0 ? 0 : static_cast<size_t>(n)};
}

/// The errno value that this call must fail with, 0: none.
int fate(const char* call, const std::string& path, bool* shorter = nullptr) {
  bool unused = false;
  return current ? current->next_call(call, path, shorter ? shorter : &unused) : 0;
}

int fail(int error) {
  errno = error;
  return -1;
}

}  // namespace

SystemFaults::~SystemFaults() {
  if (current == this) current = nullptr;
}

void SystemFaults::fail_at(int64_t first, Fault fault) {
  first_ = first;
  fault_ = fault;
  calls_ = 0;
}

void SystemFaults::revive() { killed = false; }

FileOps& SystemFaults::next() {
  current = this;
  return ForwardingFiles::next();
}

int SystemFaults::next_call(const char* call, const std::string& path, bool* shorter) {
  if (killed) return EIO;
  ++calls_;
  const int earlier = seen_[call + path]++;
  if (first_ == 0 || calls_ < first_ || (calls_ > first_ && fault_ != Fault::kFullDisk)) return 0;
  if (!failed()) {
    call_ = call;
    path_ = path;
    earlier_ = earlier;
  }
  *shorter = fault_ != Fault::kEintr;  // half is there when a disk fills up or a process ends
  killed = fault_ == Fault::kKill;
  if (fault_ == Fault::kShort) return 0;
  if (fault_ == Fault::kEintr) return EINTR;
  return fault_ == Fault::kEnospc || fault_ == Fault::kFullDisk ? ENOSPC : EIO;
}

}  // namespace fmtrain

using fmtrain::fail;
using fmtrain::fate;
using fmtrain::path_of;

extern "C" {
int __real_open(const char*, int, ...);
ssize_t __real_write(int, const void*, size_t);
ssize_t __real_pread(int, void*, size_t, off_t);
int __real_close(int);
int __real_fstat(int, struct stat*);
int __real_mkdir(const char*, mode_t);
int __real_rename(const char*, const char*);
int __real_unlink(const char*);
int __real_rmdir(const char*);
DIR* __real_opendir(const char*);
int __real_statvfs(const char*, struct statvfs*);

int __wrap_open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
  va_end(list);
  const int error = fate("open", path);
  return error ? fail(error) : __real_open(path, flags, mode);
}
ssize_t __wrap_write(int fd, const void* data, size_t bytes) {
  bool shorter = false;
  const int error = fate("write", path_of(fd), &shorter);
  if (error && !shorter) return fail(error);
  const ssize_t written = __real_write(fd, data, shorter ? (bytes + 1) / 2 : bytes);
  return error ? fail(error) : written;
}
ssize_t __wrap_pread(int fd, void* data, size_t bytes, off_t offset) {
  bool shorter = false;
  const int error = fate("pread", path_of(fd), &shorter);
  return error ? fail(error) : __real_pread(fd, data, shorter ? (bytes + 1) / 2 : bytes, offset);
}
int __wrap_fsync(int fd) {
  const int error = fate("fsync", path_of(fd));
  return error ? fail(error) : 0;
}
/// A close that fails has closed.
int __wrap_close(int fd) {
  const int error = fate("close", path_of(fd));
  const int closed = __real_close(fd);
  return error ? fail(error) : closed;
}
int __wrap_fstat(int fd, struct stat* info) {
  const int error = fate("fstat", path_of(fd));
  return error ? fail(error) : __real_fstat(fd, info);
}
int __wrap_mkdir(const char* path, mode_t mode) {
  const int error = fate("mkdir", path);
  return error ? fail(error) : __real_mkdir(path, mode);
}
int __wrap_rename(const char* from, const char* to) {
  const int error = fate("rename", from);
  return error ? fail(error) : __real_rename(from, to);
}
int __wrap_unlink(const char* path) {
  const int error = fate("unlink", path);
  return error ? fail(error) : __real_unlink(path);
}
int __wrap_rmdir(const char* path) {
  const int error = fate("rmdir", path);
  return error ? fail(error) : __real_rmdir(path);
}
DIR* __wrap_opendir(const char* path) {
  const int error = fate("opendir", path);
  return error ? (fail(error), nullptr) : __real_opendir(path);
}
int __wrap_statvfs(const char* path, struct statvfs* info) {
  const int error = fate("statvfs", path);
  return error ? fail(error) : __real_statvfs(path, info);
}
}
