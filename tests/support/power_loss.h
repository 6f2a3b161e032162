// A disk in memory that remembers what was synced, and can show every state that a power loss may leave behind. POSIX promises no
// more than this: what was written to a file is safe after an fsync of that file, a name (made, renamed, removed) after an fsync
// of its directory. Until then each page of 4 KiB and each change of a name may have got there or not, in any order.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/file_ops.h"

namespace fmtrain {

/// What a disk holds. Nodes have numbers; 0 is the directory "/". A node without a name is lost.
struct Disk {
  struct Node {
    bool directory = false;
    std::map<std::string, int> names;  ///< of a directory
    std::string data;                  ///< of a file
  };
  std::map<int, Node> nodes{{0, {true, {}, {}}}};
  int find(const std::string& path) const;  ///< the node, -1: none
  int64_t bytes() const;                    ///< of all files that have a name
};

/// A call that changed or synced something, or one page of it.
struct DiskChange {
  enum class Kind { kNames, kPage, kSync } kind = Kind::kSync;
  int node = 0;                                    ///< the directory of the names, or the file
  std::vector<std::pair<std::string, int>> names;  ///< the node each name has from now on, -1: none. All of them at once
  int64_t offset = 0;                              ///< of the page in the file
  std::string data;                                ///< of the page
};

/// A disk after a power loss. States: what was synced, and any subset of what was not.
struct Crash {
  Disk synced;
  std::vector<DiskChange> pending;
  Disk state(const std::vector<bool>& arrived) const;
};

class PowerLoss final : public FileOps {
 public:
  explicit PowerLoss(const Disk& disk = {});  ///< all of it synced
  size_t changes() const;                     ///< calls so far that changed or synced something; a crash may follow any of them
  Crash crash_after(size_t changes) const;
  Disk killed_after(size_t changes) const;  ///< what the next process sees when this one is killed: the system loses nothing
  int64_t open_files() const;

  int create_exclusive(const std::string& path, int* fd) override;
  int write(int fd, const void* data, size_t bytes) override;
  int fsync(int fd) override;
  int close(int fd) override;
  int make_dir(const std::string& path) override;
  int rename(const std::string& from, const std::string& to) override;  ///< within one directory
  int unlink(const std::string& path) override;
  int remove_dir(const std::string& path) override;
  int sync_dir(const std::string& path) override;
  int open(const std::string& path, int* fd) override;
  int read(int fd, void* data, size_t bytes, int64_t offset) override;
  int size(int fd, int64_t* bytes) override;
  int list(const std::string& path, std::vector<std::string>* names) override;
  int space(const std::string& path, int64_t* free_bytes) override;

 private:
  struct Place {
    int directory = -1, node = -1;  ///< -1: none
    std::string name;
  };
  struct Open {
    int node = -1;
    int64_t offset = 0;
  };
  Place place(const std::string& path) const;
  int add(const std::string& path, bool directory, int* node);
  int remove(const std::string& path, bool directory);
  int open_node(int node, int* fd);
  void change_names(int directory, std::vector<std::pair<std::string, int>> names);
  void log(std::vector<DiskChange> call);

  mutable std::mutex mutex_;  // the ranks are threads
  Disk start_, now_;
  std::vector<std::vector<DiskChange>> calls_;
  std::map<int, Open> open_;
  std::map<int, bool> made_;  ///< every node since the start: whether it is a directory
  int next_node_ = 1, next_fd_ = 1000;
};

}  // namespace fmtrain
