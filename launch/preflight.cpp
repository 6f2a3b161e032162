#include "launch/preflight.h"

#include <sys/statvfs.h>

#include <chrono>
#include <cstdio>

#include "comm/gpu.h"
#include "comm/mpi_communicator.h"
#include "launch/device.h"
#include "launch/environment.h"
#include "launch/placement.h"
#include "launch/trial_read.h"
#include "launch/versions.h"
#include "launch/world.h"
#include "runtime/dry_run.h"
#include "runtime/hash.h"
#include "runtime/preflight/preflight.h"
#include "runtime/program_id.h"

namespace fmtrain {
namespace {

constexpr std::chrono::seconds kMessage{60};  ///< longest message between two hosts

int64_t shm_room() {
  struct statvfs space {};
  return ::statvfs("/dev/shm", &space) == 0 ? static_cast<int64_t>(space.f_bavail * space.f_frsize) : -1;
}

/// Seconds until the last save in this Slurm job must have ended; 0: it does not say.
double seconds_left() {
  const double end = slurm_deadline(),
               now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return end > 0 ? std::max(end - now, 1.0) : 0;
}

void find_device(const Config& config, PreflightRank& rank) try {
  if (config.engine.device == Device::kCpu) return;
  const auto gpus = visible_gpus();
  rank.place.gpu = gpu_of(config.engine.device, rank.place.local_rank, static_cast<int>(gpus.size()));
  if (rank.place.gpu >= 0) rank.place.uuid = gpus[static_cast<size_t>(rank.place.gpu)].uuid;
} catch (const std::exception& error) {
  rank.device_fault = error.what();
}

PreflightRank this_rank(const Config& config, const MpiSession& session, const RunOptions& options,
                        const std::string& config_fault) {
  PreflightRank rank;
  rank.place = {session.rank(), session.local_rank(), session.host(), -1, "", options.threads, own_cores(), shm_room()};
  rank.config_fault = config_fault;
  find_device(config, rank);
  const std::string versions = options.versions.dump();
  rank.program = program_id();
  rank.libraries = sha256_hex(versions.data(), versions.size());
  rank.identity = this_process(session.host(), options.job, options.restart);
  rank.seconds_left = seconds_left();
  return rank;
}

std::string device_fault(const std::vector<RankPlace>& places) try {
  check_placements(places, gpu_sharing_wanted() && nccl_lets_ranks_share_a_gpu());
  return "";
} catch (const ConfigError& error) {
  return error.what();
}

void print_checks(const Preflight& checks, bool json) {
  const std::string run = checks.run.is_object() && !json ? dry_run_text(checks.run) + "\n" : "";
  std::printf("%s%s\n", run.c_str(), json ? preflight_json(checks).dump(1).c_str() : preflight_text(checks).c_str());
  std::fflush(stdout);  // a launcher may end the other ranks when the first one leaves with another code than 0
}

}  // namespace

int check_launched(const LaunchedCheck& check) {
  const int launched = launched_processes(), number = launched_number();  // MPI alone makes itself a launcher of one
  std::string config_fault;
  const auto load = [&]() -> Config {
    try {
      return load_config(check.config, check.overrides);
    } catch (const Error& error) {
      config_fault = error.what();
      return {};
    }
  };
  return run_in_any_world(load, [&](const Config& config, Communicator& comm, RunOptions& options, const MpiSession* session) {
    const auto channel = make_mpi_pair_channel(*session, kMessage);
    const auto gpu_communicator = [&](const Config& c) {
      return make_device_world(c.engine.device, make_mpi_communicator(*session), session->local_rank(), session->host(),
                               gpu_sharing_wanted())
          .comm;
    };
    const PreflightHelp help{*channel, posix_files(), device_fault, [](const Config& c) { trial_read(c); }, gpu_communicator};
    PreflightRank rank = this_rank(config, *session, options, config_fault);
    rank.launched = launched;
    const auto checks = preflight(config, comm, rank, {check.memory, check.expected}, help);
    if (comm.rank() == 0 && number == 0) print_checks(checks, check.json);  // of N worlds of one, one speaks
    return verdict_of(checks.rows);
  });
}

}  // namespace fmtrain
