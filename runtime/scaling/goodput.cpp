#include "runtime/scaling/goodput.h"

#include <cmath>

namespace fmtrain {

double job_mean_time(double part, int n) { return part / n; }

double young_interval(const Failures& f) { return std::sqrt(2 * f.checkpoint * f.between); }

double daly_interval(const Failures& f) {
  if (f.checkpoint >= 2 * f.between) return f.between;
  const double share = f.checkpoint / (2 * f.between);
  return young_interval(f) * (1 + std::sqrt(share) / 3 + share / 9) - f.checkpoint;
}

double goodput(const Failures& f, double interval) {
  if (interval <= 0) return f.between > 0 ? std::exp(-f.restart / f.between) : 1;
  if (f.between <= 0) return interval / (interval + f.checkpoint);
  return interval / (f.between * std::exp(f.restart / f.between) * std::expm1((interval + f.checkpoint) / f.between));
}

}  // namespace fmtrain
