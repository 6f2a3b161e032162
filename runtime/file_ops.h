// The one seam to the file system for checkpoints, model directories and registries, so that tests can fail any call.
// Every call returns 0 or an errno value; only EINTR of open and write is retried inside.
#pragma once
#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace fmtrain {

class FileOps {
 public:
  virtual ~FileOps() = default;
  virtual int create_exclusive(const std::string& path, int* fd) = 0;  ///< O_EXCL | O_NOFOLLOW, mode 0600
  virtual int write(int fd, const void* data, size_t bytes) = 0;       ///< all bytes, or an error; direct where large and page-aligned
  virtual int fsync(int fd) = 0;
  virtual int close(int fd) = 0;
  virtual int make_dir(const std::string& path) = 0;                   ///< mode 0700
  virtual int rename(const std::string& from, const std::string& to) = 0;
  virtual int exchange(const std::string&, const std::string&) { return ENOSYS; }  ///< two existing names, at once; not every file system can
  virtual int unlink(const std::string& path) = 0;
  virtual int remove_dir(const std::string& path) = 0;                 ///< empty directory
  virtual int sync_dir(const std::string& path) = 0;
  virtual int open(const std::string& path, int* fd) = 0;              ///< read only; EINVAL for a pipe or a device: nothing is waited for
  virtual int open_plain(const std::string& path, int* fd) { return open(path, fd); }  ///< the same; ELOOP where the name is a link
  virtual int read(int fd, void* data, size_t bytes, int64_t offset) = 0;  ///< exactly `bytes`; EIO when the file is shorter; direct as write()
  virtual int size(int fd, int64_t* bytes) = 0;
  virtual int list(const std::string& path, std::vector<std::string>* names) = 0;  ///< without . and ..; sorted
  virtual int space(const std::string& path, int64_t* free_bytes) = 0;
  virtual int reserve(int, int64_t) { return ENOSYS; }    ///< bytes of an open file, taken from the disk and from quotas now
  virtual int modified(int, int64_t*) { return ENOSYS; }  ///< last modification, nanoseconds, by the clock of the file server
  virtual int touch(int) { return ENOSYS; }               ///< makes that now, by the same clock
  virtual int is_at(int, const std::string&, bool*) { return ENOSYS; }  ///< whether the name is that of the open file, itself and no link
};

/// The real file system.
FileOps& posix_files();

/// Throws StorageError "PATH: cannot ACTION: why" where `error` is not 0.
void require_success(int error, const std::string& path, const char* action);

enum class Links { kFollow, kRefuse };  ///< in the last part of a name
/// Whole file into a string; throws StorageError naming it, or when it is larger than `limit`.
std::string read_file(FileOps& files, const std::string& path, size_t limit, Links links = Links::kFollow);
/// Write a temporary beside `path`, fsync, rename over `path`, fsync the directory. 0 or an errno value; the temporary is gone.
int replace_file(FileOps& files, const std::string& path, const std::string& content);
/// The same; throws StorageError naming the file.
void write_file_atomic(FileOps& files, const std::string& path, const std::string& content);

/// Removes the temporaries that killed replace_file()s left in `directory` beside files whose names `mine` says yes to, as far as
/// possible. Nobody may be replacing them meanwhile.
void remove_temporaries(FileOps& files, const std::string& directory, const std::function<bool(const std::string& name)>& mine);

/// Remove a file or a directory with all it holds, as far as possible; links are removed, not followed. (Not
/// std::filesystem::remove_all: LibTorch brings a copy of that symbol which crashes.)
void remove_tree(FileOps& files, const std::string& path);

}  // namespace fmtrain
