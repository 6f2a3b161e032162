// A timeline from the collectives that a rank asked for at stage 0 and from its log.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/scaling/timeline.h"

namespace fmtrain {

/// One reduction; seconds of a clock that never goes back.
struct RecordedCall {
  int64_t update = 0;  ///< counted from 0
  double bytes = 0, issued = 0;
  double awaited = 0;  ///< when the rank began to wait for it
};

struct Recording {
  std::string name;
  int ranks = 1, threads = 1, cores = 0;
  int64_t leaves = 1, leaves_of_rank = 1;  ///< of an update
  double parameters = 0;
  std::vector<RecordedCall> calls;
};

/// Over the updates behind the first `warmup`: medians of seconds (of compute a token), means of bytes, samples and tokens.
/// What is sent before the first wait of an update are its buckets, and that wait is the end of backward; the rest was sent
/// after it. Of a leaf's time backward is taken to be two thirds (4 of 6 P operations a token). On a CPU.
/// `log`: lines of log.jsonl. Throws DataError when there is no update, or when updates sent different buckets.
Timeline timeline_of(const Recording& recording, const std::vector<Json>& log, int64_t warmup);

}  // namespace fmtrain
