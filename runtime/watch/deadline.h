// When a rank counts as hung: arithmetic only, the time comes from outside.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <string>

namespace fmtrain {

/// Seconds.
struct Limits {
  double phase = 600;  ///< init, load, checkpoint, metrics, report; a step or evaluation batch before the first one has ended
  double step = 60;    ///< shortest deadline of a step or evaluation batch; longer where 10 times the median is
};

/// Watched every `period` seconds. A gap of more than 3 periods + 1 s between two looks means that this process was suspended
/// too: then the deadline starts anew, for the others were most likely suspended with it.
class Deadline {
 public:
  Deadline(Limits limits, double period) : limits_(limits), period_(period) {}
  /// True once nothing has changed in `phase` for longer than limit(). `progress` counts what was finished.
  bool expired(double now, const std::string& phase, uint64_t progress);
  /// Of what runs now: in "train" and "evaluate" max(limits.step, 10 x median of the last 50 steps or batches), else limits.phase.
  double limit() const;

 private:
  void remember(double seconds);

  Limits limits_;
  double period_, since_ = 0, looked_ = -1;
  std::string phase_;
  uint64_t progress_ = 0;
  std::map<std::string, std::deque<double>> steps_;  ///< seconds, of each phase that has steps
};

}  // namespace fmtrain
