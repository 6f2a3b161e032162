// One rank's file of a checkpoint on its way from live memory to storage: the training thread copies it block by block into kept
// memory, and a thread that waits for storage follows it once that memory is half full.
#pragma once
#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/checkpoint/state_dict.h"

namespace fmtrain {

/// Bytes of the file that holds these pieces, header included.
int64_t shard_bytes(const StateDict& state);

/// One thread calls fill(), another one next() and release(). Either side that gives up frees the other.
class ShardImage {
 public:
  /// Of `state`, whose memory must not change until fill() has returned. `memory` is made at the first use and kept by the caller:
  /// for the whole file, or else for two blocks, of kCheckpointBlock bytes; page-locked where the state lies on a GPU.
  ShardImage(StateDict state, bool whole, at::Tensor& memory);

  int64_t bytes() const { return bytes_; }
  /// Copies the file; with memory for the whole of it, without waiting for anybody. Returns early when the reader gave up.
  void fill();
  /// The next block of the file, once it is there, in page-aligned memory; empty after the last one, and when fill() has failed
  /// (failed() tells).
  std::string_view next();
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
  char* place(int64_t block) const;
  void copy(int64_t first, int64_t last, char* to) const;

  std::vector<Part> parts_;
  int64_t bytes_ = 0, slots_ = 0;
  bool gpu_ = false;
  at::Tensor memory_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t filled_ = 0, taken_ = 0, released_ = 0;  ///< blocks
  bool given_up_ = false;
};

}  // namespace fmtrain
