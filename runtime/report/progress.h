// How far a run is, for people who wait: one line that overwrites itself on a terminal, a line every few seconds elsewhere.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <ostream>
#include <string>

#include "runtime/config/config.h"

namespace fmtrain {

/// auto: a bar on a terminal that can erase a line (TERM is set and not "dumb"), else plain.
Progress progress_style(Progress mode, bool terminal, const std::string& term);

struct ProgressOptions {
  Progress style = Progress::kPlain;  ///< kBar, kPlain or kOff, from progress_style
  double every = 10;                  ///< seconds between plain lines; the bar is drawn at most 10 times a second
  int columns = 80;                   ///< of the terminal: the bar never wraps
};

/// For rank 0. Times come from `clock` (seconds, monotonic), text goes to `out`; both must outlive the object.
class ProgressLine {
 public:
  ProgressLine(const ProgressOptions& options, int64_t total_steps, int64_t first_step, std::function<double()> clock, std::ostream& out);

  /// After a step: `step` counted from 1, `samples` of this step.
  void step(int64_t step, int64_t epoch, double loss, double lr, int64_t samples);
  /// A line that stays, above the bar. Nothing when off.
  void say(const std::string& line);
  /// The last state, if it was not shown yet, and the end of the bar's line.
  void finish();

 private:
  struct Point {
    double time;
    int64_t step, samples;
  };
  std::string text() const;
  void show();
  void draw_bar();
  void erase();
  ProgressOptions options_;
  int64_t total_, samples_ = 0;
  std::function<double()> clock_;
  std::ostream& out_;
  std::deque<Point> window_;  ///< the last minute: rates and time left follow what the run does now
  double shown_;
  int64_t step_ = 0, epoch_ = 0;
  double loss_ = 0, lr_ = 0;
  bool pending_ = false, bar_drawn_ = false;
};

/// "4:07", "1:02:09", or "-:--" when unknown (negative).
std::string clock_text(double seconds);

}  // namespace fmtrain
