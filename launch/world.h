// A command that all ranks carry out together: MPI where a launcher started them, devices, threads, the watchdog, the records of how
// it ended, and one exit code.
#pragma once
#include <functional>

#include "comm/communicator.h"
#include "comm/mpi_session.h"
#include "runtime/config/config.h"
#include "runtime/trainer.h"

namespace fmtrain {

using WorldAction = std::function<ExitCode(const Config& config, Communicator& comm, RunOptions& options)>;

/// Runs on every rank. Joins the world, calls `load` (equal on all ranks, or none goes on; run.dir is where exit.json and the
/// failure's records go) and then `action`; returns its exit code. Where one rank fails, all end together with the code of what it
/// threw. options.status is in phase "init" until the action says otherwise: till then run.dir may be another's.
int run_in_world(const std::function<Config()>& load, const WorldAction& action);

/// `session`: null where no launcher started this process.
using CheckAction = std::function<ExitCode(const Config& config, Communicator& comm, RunOptions& options, const MpiSession* session)>;

/// The same for an action that looks for what is wrong: ranks may differ in config, program and devices, and the launcher may have started
/// more processes than MPI has ranks. The communicator is of host memory, and nothing is recorded in run.dir.
int run_in_any_world(const std::function<Config()>& load, const CheckAction& action);

}  // namespace fmtrain
