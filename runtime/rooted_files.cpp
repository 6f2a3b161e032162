#include "runtime/rooted_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace fmtrain {
namespace {

constexpr int kDirectory = O_PATH | O_DIRECTORY | O_CLOEXEC;

/// Directory `name` in `parent`; a link is refused.
int open_below(int parent, const std::string& name, int* fd) {
  *fd = name == ".." ? -1 : ::openat(parent, name.c_str(), kDirectory | O_NOFOLLOW);
  return *fd >= 0 ? 0 : name == ".." ? EXDEV : errno;
}

}  // namespace

/// `path` for the inner calls, by way of a descriptor that is open as long as this lives.
struct RootedFiles::Name {
  std::string path;
  int fd = -1;
  Name() = default;
  Name(const Name&) = delete;
  Name& operator=(const Name&) = delete;
  ~Name() { hold(-1); }
  void hold(int other) {
    if (fd >= 0) ::close(fd);
    fd = other;
  }
  /// The kernel takes "/proc/self/fd/N" for the directory itself, wherever it lies now.
  void set(const std::string& last) { path = "/proc/self/fd/" + std::to_string(fd) + "/" + last; }
};

RootedFiles::~RootedFiles() {
  if (root_fd_ >= 0) ::close(root_fd_);
}

int RootedFiles::open_root(int* fd) {
  const std::lock_guard lock(mutex_);
  if (root_fd_ < 0) root_fd_ = ::open(root_.c_str(), kDirectory);
  *fd = root_fd_ < 0 ? -1 : ::fcntl(root_fd_, F_DUPFD_CLOEXEC, 0);
  return *fd < 0 ? errno : 0;
}

int RootedFiles::resolve(const std::string& path, Name* name) {
  if (!path.starts_with(root_ + "/")) {
    name->path = path;
    return 0;
  }
  int fd = -1;
  if (const int error = open_root(&fd)) return error;
  name->hold(fd);
  size_t at = root_.size() + 1;
  for (size_t slash; (slash = path.find('/', at)) != std::string::npos; at = slash + 1) {
    if (slash == at) continue;  // "a//b"
    if (const int error = open_below(name->fd, path.substr(at, slash - at), &fd)) return error;
    name->hold(fd);
  }
  if (path.substr(at) == "..") return EXDEV;
  name->set(path.substr(at));
  return 0;
}

int RootedFiles::resolve_directory(const std::string& path, Name* name) {
  if (path == root_) {
    int fd = -1;
    if (const int error = open_root(&fd)) return error;
    name->hold(fd);
    name->set(".");
    return 0;
  }
  return resolve(path.starts_with(root_ + "/") ? path + "/." : path, name);
}

int RootedFiles::create_exclusive(const std::string& path, int* fd) {
  Name name;
  const int error = resolve(path, &name);
  return error ? error : inner_.create_exclusive(name.path, fd);
}

int RootedFiles::make_dir(const std::string& path) {
  Name name;
  const int error = resolve(path, &name);
  return error ? error : inner_.make_dir(name.path);
}

int RootedFiles::rename(const std::string& from, const std::string& to) {
  Name old_name, new_name;
  int error = resolve(from, &old_name);
  if (!error) error = resolve(to, &new_name);
  return error ? error : inner_.rename(old_name.path, new_name.path);
}

int RootedFiles::exchange(const std::string& a, const std::string& b) {
  Name one, other;
  int error = resolve(a, &one);
  if (!error) error = resolve(b, &other);
  return error ? error : inner_.exchange(one.path, other.path);
}

int RootedFiles::unlink(const std::string& path) {
  Name name;
  const int error = resolve(path, &name);
  return error ? error : inner_.unlink(name.path);
}

int RootedFiles::remove_dir(const std::string& path) {
  Name name;
  const int error = resolve(path, &name);
  return error ? error : inner_.remove_dir(name.path);
}

int RootedFiles::sync_dir(const std::string& path) {
  Name name;
  const int error = resolve_directory(path, &name);
  return error ? error : inner_.sync_dir(name.path);
}

int RootedFiles::open(const std::string& path, int* fd) { return open_plain(path, fd); }

int RootedFiles::open_plain(const std::string& path, int* fd) {
  Name name;
  const int error = resolve(path, &name);
  return error ? error : inner_.open_plain(name.path, fd);
}

int RootedFiles::list(const std::string& path, std::vector<std::string>* names) {
  Name name;
  const int error = resolve_directory(path, &name);
  return error ? error : inner_.list(name.path, names);
}

int RootedFiles::space(const std::string& path, int64_t* free_bytes) {
  Name name;
  const int error = resolve_directory(path, &name);
  return error ? error : inner_.space(name.path, free_bytes);
}

}  // namespace fmtrain
