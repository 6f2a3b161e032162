// What the environment says of a run.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/watch/watchdog.h"

namespace fmtrain {

/// FMTRAIN_WAIT_LIMIT, FMTRAIN_STEP_LIMIT (seconds) and FMTRAIN_WATCH_PERIOD over the defaults. Throws ConfigError.
WatchOptions watch_options();

/// $FMTRAIN_HOME, else ~/.cache/fmtrain.
std::string cache_home();

/// Kind of the terminal (TERM), "" if none.
std::string terminal();

/// A launcher (Open MPI, MPICH, PMIx, Slurm) started this process: only then is MPI initialised. And how many processes it says that
/// it started, 0 if it does not say.
bool launched_by_mpi();
int launched_processes();

/// Which of them this one is, as the launcher says it; 0 if it does not say.
int launched_number();

/// Before MPI is initialised: where all ranks are on one host, Open MPI shall not look for networks (its layers ucx and cm), which
/// takes 0.2 s; shared memory is left. A choice of the user's (--mca pml or mtl) stays.
void skip_networks_on_one_host();

/// NCCL is told that ranks may share a GPU (NCCL_MULTI_RANK_GPU_ENABLE=1).
bool gpu_sharing_wanted();

/// Name and value of what a failure record may have of the environment: a fixed list, nothing else is ever written.
std::vector<std::pair<std::string, std::string>> recorded_environment();

/// The job that Slurm runs this in (SLURM_JOB_ID), "" if none, and how often it was started before (SLURM_RESTART_COUNT).
std::string slurm_job();
int64_t slurm_restarts();

/// Unix time by which the last save must have ended, ten seconds before Slurm ends this job (SLURM_JOB_END_TIME): ranks leave, and the job
/// script asks to be queued again. 0 if it does not say.
double slurm_deadline();

}  // namespace fmtrain
