// What a rank is doing: written by its main thread, read by its watchdog and by whoever records a failure.
#pragma once
#include <atomic>
#include <cstdint>

namespace fmtrain {

struct Where {
  const char* phase = "init";  ///< a literal: init, load, evaluate, metrics, train, checkpoint, report
  int64_t step = 0;
};

class RunStatus {
 public:
  /// Also when nothing changes: something was finished within the phase (a step, an evaluation batch), and its deadline starts anew.
  RunStatus& operator=(Where where) {
    phase_ = where.phase;
    step_ = where.step;
    ++progress_;
    return *this;
  }
  const char* phase() const { return phase_; }
  int64_t step() const { return step_; }
  uint64_t progress() const { return progress_; }

 private:
  std::atomic<const char*> phase_{"init"};
  std::atomic<int64_t> step_{0};
  std::atomic<uint64_t> progress_{0};
};

}  // namespace fmtrain
