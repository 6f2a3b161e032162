// Token ids that stay in their file because memory is too small for them. All of them are read once, in order, through HDF5, which
// verifies its checksums; of each block of 4 KiB a hash is kept (8 bytes), and from then on blocks are read from the file itself, as
// they are needed, and compared with it. So a file that changes during a run ends the run, and never a wrong id is trained on.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/data/h5.h"

namespace fmtrain {

class StoredTokens {
 public:
  /// Memory: the hashes, and one chunk while this runs. Throws DataError naming file and elements.
  StoredTokens(H5Reader& reader, const std::string& path, const char* name);
  ~StoredTokens();
  StoredTokens(const StoredTokens&) = delete;
  StoredTokens& operator=(const StoredTokens&) = delete;

  int64_t size() const { return size_; }
  int32_t least() const { return least_; }        ///< smallest id; INT32_MAX when there is none
  int32_t greatest() const { return greatest_; }  ///< largest id; INT32_MIN when there is none
  const std::string& xxh3() const { return xxh3_; }  ///< of all ids
  /// Ids [first, first + out.size()), which must exist. Threads may call it together. Throws DataError when they are no longer those
  /// that were verified.
  void copy(int64_t first, std::span<int32_t> out) const;

 private:
  static constexpr int64_t kBlock = 1024;  ///< ids
  int64_t in_run(int64_t run) const { return std::min(run_, size_ - run * run_); }
  void verify(H5Reader& reader, const char* name, bool contiguous);
  void find_run(H5Reader& reader, const char* name, int64_t run, bool contiguous, std::span<const int32_t> expected);
  bool holds(int64_t at, std::span<const int32_t> expected) const;
  [[noreturn]] void fail(int64_t first, int64_t last) const;

  std::string path_, name_, xxh3_;
  int fd_ = -1;
  int64_t size_ = 0, run_ = 0;      ///< ids in all, and in each run of ids that stand together in the file (a chunk)
  int64_t blocks_ = 0;              ///< hashes of a run
  int32_t least_, greatest_;
  std::vector<int64_t> runs_;       ///< byte at which each begins
  std::vector<uint64_t> hashes_;
};

}  // namespace fmtrain
