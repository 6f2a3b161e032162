// What failures and checkpoints leave of the time of a long run. Arithmetic only.
#pragma once

namespace fmtrain {

/// Seconds each.
struct Failures {
  double between = 0;     ///< mean time between failures of the whole job; 0: none ever
  double checkpoint = 0;  ///< that training stands still for one checkpoint
  double restart = 0;     ///< from a failure to the first update after it
};

/// Of a job of n parts that fail independently of each other, each once in `part` seconds on average.
double job_mean_time(double part, int n);

/// The work between two checkpoints that loses least: sqrt(2 C M) (Young, "A first order approximation to the optimum
/// checkpoint interval", CACM 17(9), 1974).
double young_interval(const Failures& f);
/// The same to higher order, without the checkpoint itself: sqrt(2 C M) (1 + sqrt(C/2M)/3 + C/18M) - C below C = 2 M, else M
/// (Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", FGCS 22(3), 2006).
double daly_interval(const Failures& f);

/// Useful work over time with `interval` seconds of work between checkpoints: interval / (M e^(R/M) (e^((interval + C)/M) - 1))
/// (Daly 2006, eq. 20). Without failures: interval / (interval + C). Checkpoints that take no time may come all the time,
/// interval 0: e^(-R/M).
double goodput(const Failures& f, double interval);

}  // namespace fmtrain
