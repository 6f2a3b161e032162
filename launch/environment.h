// What the environment says of a run.
#pragma once
#include "runtime/watch/watchdog.h"

namespace fmtrain {

/// FMTRAIN_WAIT_LIMIT, FMTRAIN_STEP_LIMIT (seconds) and FMTRAIN_WATCH_PERIOD over the defaults. Throws ConfigError.
WatchOptions watch_options();

/// Unix time at which Slurm ends this job (SLURM_JOB_END_TIME), 0 if it does not say.
double slurm_end_time();

}  // namespace fmtrain
