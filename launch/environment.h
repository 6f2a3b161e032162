// What the environment says of a run.
#pragma once
#include <cstdint>
#include <string>

#include "runtime/watch/watchdog.h"

namespace fmtrain {

/// FMTRAIN_WAIT_LIMIT, FMTRAIN_STEP_LIMIT (seconds) and FMTRAIN_WATCH_PERIOD over the defaults. Throws ConfigError.
WatchOptions watch_options();

/// The job that Slurm runs this in (SLURM_JOB_ID), "" if none, and how often it was started before (SLURM_RESTART_COUNT).
std::string slurm_job();
int64_t slurm_restarts();

/// Unix time at which Slurm ends this job (SLURM_JOB_END_TIME), 0 if it does not say.
double slurm_end_time();

}  // namespace fmtrain
