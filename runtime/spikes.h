// Steps that stand out from those before them: a sudden loss or gradient is how bad samples and a rate that is too high begin.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace fmtrain {

/// One quantity of every step, non-negative. A value is a spike when it is
/// - more than 10 times the largest of the last 100 (from 20 values on), or
/// - the largest of the last 100 and more than 6 robust standard deviations above their median.
/// Both in the logarithm, since loss and norm vary by factors: on plain values a usual run's norms, whose distribution has a long
/// right tail, gave 1 to 2 false alarms in 300 steps. Robust standard deviation: 1.4826 times the median distance from the median
/// (Rousseeuw and Croux, "Alternatives to the median absolute deviation", 1993), at least 0.05. Values below 1e-3 count as 1e-3.
class SpikeSeries {
 public:
  /// The limit that `value` exceeds, or 0. The value then belongs to the last 100.
  double exceeded(double value);

 private:
  static constexpr size_t kKept = 100;
  double limit() const;
  std::array<double, kKept> logs_{};
  size_t count_ = 0;  ///< values seen; the newest is at (count_ - 1) % kKept
};

class Spikes {
 public:
  /// One step with finite values. What stands out, for people; mostly "". A row of such steps is one event, which is told once: it
  /// ends when 10 steps in a row are none.
  std::string step(double loss, double grad_norm);

 private:
  static constexpr int kCalm = 10;
  SpikeSeries loss_, norm_;
  int since_ = kCalm;  ///< steps since the last one that stood out
};

}  // namespace fmtrain
