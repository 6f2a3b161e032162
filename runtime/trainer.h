// One run from the first to the last step: evaluate, train, evaluate, hand back a model directory and a report.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "runtime/config/config.h"
#include "runtime/errors.h"
#include "runtime/json.h"
#include "runtime/watch/status.h"

namespace fmtrain {

struct RunOptions {
  bool resume = true;                     ///< continue from the newest checkpoint in the run directory
  /// Asked once a step: a signal arrived, or less than `needed` seconds are left (for one more step and the save at the end).
  std::function<bool(double needed)> stop_requested;
  std::string device = "cpu";             ///< where the model lives: "cpu" or "cuda:N"
  std::string host = "localhost";         ///< this rank's
  int hosts = 1, threads = 1;             ///< for the report
  std::vector<std::string> placement;     ///< a line a rank: host, device, threads, CPUs
  std::string job;                        ///< the scheduler's number of this job, "" without one
  std::string terminal;                   ///< kind of the terminal, as in TERM
  int64_t restart = 0;                    ///< how often the scheduler had started it before
  Json versions = Json::object();         ///< of this program and its libraries, for the report
  RunStatus* status = nullptr;            ///< kept up to date when given
  double started = 0;                     ///< steady-clock seconds when the program started, for first_step_s
};

/// Collective. kOk when the run is complete, kRequeue when it was asked to stop and has saved its state. Throws Error.
ExitCode train(const Config& config, Communicator& comm, const RunOptions& options);

}  // namespace fmtrain
