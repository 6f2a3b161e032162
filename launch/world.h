// A command that all ranks carry out together: MPI where a launcher started them, devices, threads, the watchdog, the records of how
// it ended, and one exit code.
#pragma once
#include <functional>

#include "comm/communicator.h"
#include "runtime/config/config.h"
#include "runtime/trainer.h"

namespace fmtrain {

using WorldAction = std::function<ExitCode(const Config& config, Communicator& comm, RunOptions& options)>;

/// Runs on every rank. Joins the world, calls `load` (equal on all ranks, or none goes on; run.dir is where exit.json and the
/// failure's records go) and then `action`; returns its exit code. Where one rank fails, all end together with the code of what it
/// threw. options.status is in phase "init" until the action says otherwise: till then run.dir may be another's.
int run_in_world(const std::function<Config()>& load, const WorldAction& action);

}  // namespace fmtrain
