// `fmtrain continual watch`: a schedule in the foreground, for machines without cron, systemd or Slurm.
#pragma once
#include <string>
#include <vector>

namespace fmtrain {

struct WatchCycles {
  std::string config;
  std::vector<std::string> overrides;
  std::string launcher;  ///< words separated by blanks, in front of this program; "": none
  double every = 3600;   ///< seconds from the start of one run to that of the next
};

/// Starts `continual run` again and again until SIGTERM or SIGUSR1: then asks the run in progress to save and stop, and returns 0. A run
/// that ends with 75 is started again at once; one that fails is reported and tried again at the next time. Throws ConfigError where
/// the program cannot be started.
int watch_cycles(const WatchCycles& watch);

}  // namespace fmtrain
