#include "runtime/file_ops.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>

#include "runtime/errors.h"

namespace fmtrain {
namespace {

int result(int status) { return status == 0 ? 0 : errno; }

int open_retrying(const char* path, int flags, mode_t mode, int* fd) {
  do *fd = ::open(path, flags | O_CLOEXEC, mode);
  while (*fd < 0 && errno == EINTR);
  return *fd < 0 ? errno : 0;
}

constexpr size_t kPage = 4096, kDirect = 1 << 20;  ///< bytes: what direct transfers are multiples of, and the least that is worth one

bool set_direct(int fd, bool on) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

/// All bytes by calls of some(n), which returns as write(2) does: whole pages directly where they are many and aligned in memory and
/// in the file, the rest through the page cache. 0 or an errno value.
template <typename F>
int transfer(int fd, const void* data, size_t bytes, const F& some) {
  bool direct = bytes >= kDirect && reinterpret_cast<uintptr_t>(data) % kPage == 0 && set_direct(fd, true);
  int error = 0;
  while (bytes > 0 && !error) {
    if (direct && bytes < kPage && !set_direct(fd, direct = false)) return errno;
    const size_t whole = direct ? bytes / kPage * kPage : bytes;
    const ssize_t n = some(std::min(whole, size_t{1} << 30));
    if (n > 0) bytes -= static_cast<size_t>(n);
    else if (n < 0 && errno == EINVAL && direct) error = set_direct(fd, direct = false) ? 0 : errno;  // not aligned in the file
    else if (n == 0 || errno != EINTR) error = n < 0 ? errno : EIO;
  }
  if (direct) set_direct(fd, false);
  return error;
}

/// O_NONBLOCK: the opening of a pipe would wait for a writer who may never come, and of some devices does something.
int open_existing(const std::string& path, int flags, int* fd) {
  if (const int error = open_retrying(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | flags, 0, fd)) return error;
  struct stat info {};
  const int error = ::fstat(*fd, &info) != 0 ? errno : S_ISREG(info.st_mode) || S_ISDIR(info.st_mode) ? 0 : EINVAL;
  if (error) {
    ::close(*fd);
    *fd = -1;
  }
  return error;
}

class PosixFiles final : public FileOps {
 public:
  int create_exclusive(const std::string& path, int* fd) override {
    return open_retrying(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, 0600, fd);
  }
  /// Large aligned writes, and reads, go past the page cache where the file system can (open(2), O_DIRECT): at the disk's own rate,
  /// and who reads the file back sees what the disk holds.
  int write(int fd, const void* data, size_t bytes) override {
    const auto* p = static_cast<const char*>(data);
    return transfer(fd, data, bytes, [&](size_t n) {
      const ssize_t done = ::write(fd, p, n);
      if (done > 0) p += done;
      return done;
    });
  }
  int fsync(int fd) override { return result(::fsync(fd)); }
  int close(int fd) override { return result(::close(fd)); }
  int make_dir(const std::string& path) override { return result(::mkdir(path.c_str(), 0700)); }
  int rename(const std::string& from, const std::string& to) override { return result(::rename(from.c_str(), to.c_str())); }
  int exchange(const std::string& a, const std::string& b) override {
    return result(::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE));
  }
  int unlink(const std::string& path) override { return result(::unlink(path.c_str())); }
  int remove_dir(const std::string& path) override { return result(::rmdir(path.c_str())); }
  int sync_dir(const std::string& path) override {
    int fd = -1;
    if (const int error = open_retrying(path.c_str(), O_RDONLY | O_DIRECTORY, 0, &fd)) return error;
    const int error = fsync(fd);
    const int closed = close(fd);
    return error ? error : closed;
  }
  int open(const std::string& path, int* fd) override { return open_existing(path, 0, fd); }
  int open_plain(const std::string& path, int* fd) override { return open_existing(path, O_NOFOLLOW, fd); }
  int read(int fd, void* data, size_t bytes, int64_t offset) override {
    auto* p = static_cast<char*>(data);
    return transfer(fd, data, bytes, [&](size_t n) {
      const ssize_t done = ::pread(fd, p, n, offset);
      if (done > 0) p += done, offset += done;
      return done;
    });
  }
  int size(int fd, int64_t* bytes) override {
    struct stat info {};
    const int status = ::fstat(fd, &info);
    *bytes = info.st_size;
    return result(status);
  }
  int list(const std::string& path, std::vector<std::string>* names) override {
    DIR* dir = ::opendir(path.c_str());
    if (!dir) return errno;
    names->clear();
    errno = 0;
    while (const dirent* entry = ::readdir(dir)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names->push_back(name);
    }
    const int error = errno;
    ::closedir(dir);
    std::sort(names->begin(), names->end());
    return error;
  }
  int reserve(int fd, int64_t bytes) override { return ::posix_fallocate(fd, 0, bytes); }
  int space(const std::string& path, int64_t* free_bytes) override {
    struct statvfs info {};
    const int status = ::statvfs(path.c_str(), &info);
    *free_bytes = static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize);
    return result(status);
  }
  int modified(int fd, int64_t* nanoseconds) override {
    struct stat info {};
    const int status = ::fstat(fd, &info);
    *nanoseconds = static_cast<int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec;
    return result(status);
  }
  int touch(int fd) override { return result(::futimens(fd, nullptr)); }
  int is_at(int fd, const std::string& path, bool* is) override {
    struct stat open {}, named {};
    *is = false;
    if (::fstat(fd, &open) != 0) return errno;
    if (::lstat(path.c_str(), &named) != 0) return errno == ENOENT ? 0 : errno;
    *is = open.st_dev == named.st_dev && open.st_ino == named.st_ino;
    return 0;
  }
};

/// Random, not the process id: a killed process with the same id, as in every start of a container, may have left its own.
std::string temporary_beside(const std::string& path) {
  std::random_device random;
  char digits[24];
  std::snprintf(digits, sizeof digits, "%08x%08x", random(), random());
  return path + ".tmp-" + digits;
}

}  // namespace

FileOps& posix_files() {
  static PosixFiles files;
  return files;
}

void require_success(int error, const std::string& path, const char* action) {
  if (error) throw StorageError(path + ": cannot " + action + ": " + std::strerror(error));
}

std::string read_file(FileOps& files, const std::string& path, size_t limit, Links links) {
  int fd = -1;
  require_success(links == Links::kRefuse ? files.open_plain(path, &fd) : files.open(path, &fd), path, "open");
  int64_t bytes = 0;
  int error = files.size(fd, &bytes);
  const bool fits = bytes >= 0 && static_cast<uint64_t>(bytes) <= limit;
  std::string content;
  if (!error && fits) {
    content.resize(static_cast<size_t>(bytes));
    error = files.read(fd, content.data(), content.size(), 0);
  }
  files.close(fd);
  require_success(error, path, "read");
  if (!fits) throw StorageError(path + ": " + std::to_string(bytes) + " bytes, more than the limit of " + std::to_string(limit));
  return content;
}

int replace_file(FileOps& files, const std::string& path, const std::string& content) {
  const std::string temporary = temporary_beside(path);
  int fd = -1;
  if (const int error = files.create_exclusive(temporary, &fd)) return error;
  int error = files.write(fd, content.data(), content.size());
  if (!error) error = files.fsync(fd);
  const int closed = files.close(fd);
  if (!error) error = closed;
  if (!error) error = files.rename(temporary, path);
  if (error) {
    files.unlink(temporary);
    return error;
  }
  const auto slash = path.find_last_of('/');
  return files.sync_dir(slash == std::string::npos ? "." : path.substr(0, slash + 1));
}

void write_file_atomic(FileOps& files, const std::string& path, const std::string& content) {
  require_success(replace_file(files, path, content), path, "write");
}

void remove_temporaries(FileOps& files, const std::string& directory, const std::function<bool(const std::string& name)>& mine) {
  constexpr size_t kDigits = 16;  // temporary_beside
  std::vector<std::string> names;
  if (files.list(directory, &names) != 0) return;
  for (const auto& name : names) {
    const size_t mark = name.rfind(".tmp-");
    const bool temporary = mark != std::string::npos && name.size() - mark == 5 + kDigits &&
                           name.find_first_not_of("0123456789abcdef", mark + 5) == std::string::npos;
    if (temporary && mine(name.substr(0, mark))) files.unlink(directory + "/" + name);
  }
}

void remove_tree(FileOps& files, const std::string& path) {
  if (files.unlink(path) == 0) return;
  std::vector<std::string> names;
  if (files.list(path, &names) != 0) return;
  for (const auto& name : names) remove_tree(files, path + "/" + name);
  files.remove_dir(path);
}

}  // namespace fmtrain
