// One rank's file of a checkpoint on its way from live memory to storage: the thread that waits for storage copies it block by block
// as it goes, for nothing changes before the next update; what it has not come to by then the training thread copies.
#pragma once
#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/checkpoint/state_dict.h"

namespace fmtrain {

class Xxh3;

/// Bytes of the file that holds these pieces, header included.
int64_t shard_bytes(const StateDict& state);

/// One thread calls settle(), another one next() and release(). Either side that gives up frees the other.
class ShardImage {
 public:
  /// Of `state`, whose memory must not change until settle() has returned. `memory` is made at the first use and kept by the caller:
  /// for the whole file (what is written is used again, so that with a disk as fast as the copy most of it stays untouched), or else for two blocks, of kCheckpointBlock bytes; page-locked where the state lies on a GPU, of which the reader
  /// copies nothing.
  ShardImage(StateDict state, bool whole, at::Tensor& memory);

  int64_t bytes() const { return bytes_; }
  /// Copies what the reader has not; with memory for the whole file without waiting for storage. Nothing of `state` is read any more
  /// when it returns. Returns early when the reader gave up.
  void settle();
  struct Block {
    std::string_view bytes;  ///< in page-aligned memory
    std::string hash;        ///< XXH3-128
  };
  /// The next block of the file; empty after the last one, and when settle() has failed (failed() tells).
  Block next();
  /// The oldest block that was taken is not needed any more.
  void release();
  void give_up();
  bool failed();

 private:
  /// Where the bytes of the file come from, end to end.
  struct Part {
    int64_t first;      ///< byte of the file
    at::Tensor values;  ///< fp32, or the header's bytes
  };
  int64_t blocks() const { return static_cast<int64_t>(slot_.size()); }
  int64_t first_byte(int64_t block) const;
  int64_t size(int64_t block) const { return first_byte(block + 1) - first_byte(block); }
  char* place(int64_t block) const;
  bool claim(std::unique_lock<std::mutex>& lock, bool reader);
  void copy(int64_t first, int64_t last, char* to, Xxh3* hash) const;
  void copy_with_all_threads(int64_t block) const;

  std::vector<Part> parts_;
  int64_t bytes_ = 0;
  bool gpu_ = false, whole_ = false;
  at::Tensor memory_;
  std::mutex mutex_;
  std::mutex reading_;  ///< held while the reader reads the state; taken within mutex_, or alone
  std::condition_variable changed_;
  std::set<int64_t> free_;     ///< places for a block in memory_; the first one is used first
  std::vector<int64_t> slot_;  ///< of each block: its place
  std::vector<char> there_;    ///< of each block: copied
  int64_t claimed_ = 0, taken_ = 0, released_ = 0;  ///< blocks
  bool settling_ = false, given_up_ = false;
};

}  // namespace fmtrain
