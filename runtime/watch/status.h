// What a rank is doing: written by its main thread, read by its watchdog and by whoever records a failure.
#pragma once
#include <atomic>
#include <cstdint>

namespace fmtrain {

struct Where {
  const char* phase = "init";  ///< a literal: init, load, evaluate, train, checkpoint, report
  int64_t step = 0;
};

class RunStatus {
 public:
  RunStatus& operator=(Where where) {
    phase_ = where.phase;
    step_ = where.step;
    return tick(), *this;
  }
  /// Something was finished within the phase (a step, an evaluation batch): its deadline starts anew.
  void tick() { ++progress_; }
  const char* phase() const { return phase_; }
  int64_t step() const { return step_; }
  uint64_t progress() const { return progress_; }

 private:
  std::atomic<const char*> phase_{"init"};
  std::atomic<int64_t> step_{0};
  std::atomic<uint64_t> progress_{0};
};

}  // namespace fmtrain
