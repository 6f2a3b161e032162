#include "tests/support/fail_files.h"

#include <utility>

namespace fmtrain {

void FailFiles::fail_at(int64_t first, int error, bool from_then_on) {
  first_ = first;
  error_ = error;
  from_then_on_ = from_then_on;
  calls_ = 0;
  failed_ = false;
}

void FailFiles::interrupt_at(int64_t at, std::function<void()> action) {
  interrupt_at_ = at;
  action_ = std::move(action);
  calls_ = 0;
}

/// The error of this call, 0 when it shall be made.
int FailFiles::next() {
  if (++calls_ == interrupt_at_) action_();
  if (first_ == 0 || calls_ < first_ || (calls_ > first_ && !from_then_on_)) return 0;
  failed_ = true;
  return error_;
}

int FailFiles::create_exclusive(const std::string& path, int* fd) {
  if (const int error = next()) return error;
  const int error = posix_files().create_exclusive(path, fd);
  if (!error) ++open_;
  return error;
}

int FailFiles::open(const std::string& path, int* fd) {
  if (const int error = next()) return error;
  const int error = posix_files().open(path, fd);
  if (!error) ++open_;
  return error;
}

/// Half of the bytes are there: a disk fills up in the middle of a write.
int FailFiles::write(int fd, const void* data, size_t bytes) {
  const int error = next();
  const int written = posix_files().write(fd, data, error ? bytes / 2 : bytes);
  return error ? error : written;
}

/// A close that fails has closed.
int FailFiles::close(int fd) {
  const int error = next();
  const int closed = posix_files().close(fd);
  --open_;
  return error ? error : closed;
}

int FailFiles::fsync(int fd) {
  const int error = next();
  return error ? error : posix_files().fsync(fd);
}

int FailFiles::make_dir(const std::string& path) {
  const int error = next();
  return error ? error : posix_files().make_dir(path);
}

int FailFiles::rename(const std::string& from, const std::string& to) {
  const int error = next();
  return error ? error : posix_files().rename(from, to);
}

int FailFiles::unlink(const std::string& path) {
  const int error = next();
  return error ? error : posix_files().unlink(path);
}

int FailFiles::remove_dir(const std::string& path) {
  const int error = next();
  return error ? error : posix_files().remove_dir(path);
}

int FailFiles::sync_dir(const std::string& path) {
  const int error = next();
  return error ? error : posix_files().sync_dir(path);
}

int FailFiles::read(int fd, void* data, size_t bytes, int64_t offset) {
  const int error = next();
  return error ? error : posix_files().read(fd, data, bytes, offset);
}

int FailFiles::size(int fd, int64_t* bytes) {
  const int error = next();
  return error ? error : posix_files().size(fd, bytes);
}

int FailFiles::list(const std::string& path, std::vector<std::string>* names) {
  const int error = next();
  return error ? error : posix_files().list(path, names);
}

int FailFiles::space(const std::string& path, int64_t* free_bytes) {
  const int error = next();
  return error ? error : posix_files().space(path, free_bytes);
}

int FailFiles::modified(int fd, int64_t* nanoseconds) {
  const int error = next();
  return error ? error : posix_files().modified(fd, nanoseconds);
}

int FailFiles::touch(int fd) {
  const int error = next();
  return error ? error : posix_files().touch(fd);
}

int FailFiles::is_at(int fd, const std::string& path, bool* is) {
  const int error = next();
  return error ? error : posix_files().is_at(fd, path, is);
}

}  // namespace fmtrain
