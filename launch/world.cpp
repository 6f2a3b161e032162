#include "launch/world.h"

#include <ATen/Parallel.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string_view>
#include <thread>

#include "comm/errors.h"
#include "comm/journal.h"
#include "comm/mpi_communicator.h"
#include "comm/mpi_session.h"
#include "comm/recording_communicator.h"
#include "launch/device.h"
#include "launch/environment.h"
#include "launch/placement.h"
#include "launch/versions.h"
#include "runtime/file_ops.h"
#include "runtime/ledger.h"
#include "runtime/out_of_memory.h"
#include "runtime/report/run_log.h"
#include "runtime/run_lock.h"
#include "runtime/watch/agreement.h"
#include "runtime/watch/connections.h"
#include "runtime/watch/failure.h"
#include "runtime/watch/signals.h"
#include "runtime/watch/watchdog.h"

namespace fmtrain {
namespace {

namespace fs = std::filesystem;

double wall() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

/// Cores this process may use, over the ranks of the node; OMP_NUM_THREADS and engine.threads go first.
int threads_of(const Config& config, int local_ranks) {
  if (config.engine.threads) return static_cast<int>(*config.engine.threads);
  if (const char* text = std::getenv("OMP_NUM_THREADS"); text && std::atoi(text) > 0) return std::atoi(text);
  cpu_set_t set;
  sched_getaffinity(0, sizeof set, &set);
  const int mine = CPU_COUNT(&set), all = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return std::max(1, mine < all ? mine : all / local_ranks);
}

/// FMTRAIN_WAIT_LIMIT: seconds that a rank waits for another one before it ends the job. The watchdogs speak first, for they know
/// more of who is at fault; the wait itself ends only where there is none yet.
MpiOptions mpi_options() {
  MpiOptions options;
  const WatchOptions watch = watch_options();
  options.wait_limit = std::chrono::duration<double>(watch.limits.phase + 2 * watch.period + 2);
  return options;
}

bool is_failure(ExitCode code) {
  return code != ExitCode::kOk && code != ExitCode::kRequeue && code != ExitCode::kDrift && code != ExitCode::kInsufficientData;
}

/// How a run ended, as far as this rank knows.
struct Ending {
  std::string run_dir, host = "localhost", device = "cpu";
  int rank = 0;
  RunStatus status;
  fs::file_time_type began = fs::file_time_type::clock::now();
  std::vector<std::pair<std::string, std::string>> environment = recorded_environment();
  std::optional<Watchdog> watchdog;

  /// `first`: false for a rank that only adds to what another one has found.
  void record(const Finding& found) const {
    if (run_dir.empty() || found.code == ExitCode::kLocked) return;  // what lies there is another run's
    if (!owned() && is_anothers()) return;
    if (!owned()) make_place();
    const ExitRecord exit{static_cast<int>(found.code), found.reason, rank, host, status.phase(), status.step()};
    const bool first = found.first && write_exit(run_dir, exit);  // of ranks that find it at one moment on several hosts, one is the first
    if (!is_failure(found.code)) return;
    write_failure(run_dir, {exit, first, device, found.ranks, found.collectives, found.stack, ledger_json(), environment});
  }
  /// What the main thread says: nobody takes the end of this rank for a fault any more.
  void record(ExitCode code, const std::string& reason) {
    if (!watchdog) return record(Finding{code, reason});
    watchdog->stop();
    const bool others = of_all_ranks(static_cast<int>(code));
    if (others) watchdog->announce(code);
    record(watchdog->finding(code, reason));
    if (others) watchdog->await_records();
  }

  bool owned() const { return std::string_view(status.phase()) != "init"; }

  /// A record there would be read as that of the run that goes on, and keep it from writing its own. Its owner may also be rank 0 of
  /// this run, while it tells the others so.
  bool is_anothers() const try {
    return RunLock::is_held(posix_files(), run_dir, this_process(host, slurm_job(), slurm_restarts()));
  } catch (const StorageError&) {
    return true;  // nobody can tell
  }

  /// Before the run directory is this run's: it may be missing, or hold the record of an earlier start, which would be read as this one's.
  void make_place() const {
    std::error_code error;
    fs::create_directories(run_dir, error);
    if (const auto written = fs::last_write_time(run_dir + "/exit.json", error); error || written >= began) return;
    fs::remove(run_dir + "/exit.json", error);
    clear_failure(run_dir);
  }
};

/// For WatchOptions::lost. A launcher that sees a rank die has ended all others 2 s later (Open MPI 4.1), and of a host whose ranks are
/// all killed at once nobody is left who could say so there.
class LostHosts {
 public:
  LostHosts(const Ending& ending, const Communicator& comm) : ending_(ending), comm_(comm) {}

  /// Only what is waited for was needed. Quiet until the run directory is surely this run's, and once its owner is another; rank 0
  /// ends the job for both without a record there. Quiet where a rank that ended the job has said why.
  std::string operator()() {
    if (!ending_.owned()) return {};
    if (lock_.empty()) lock_ = lock();
    const std::string& address = connections_.closed();
    if (address.empty()) return {};
    std::error_code error;
    const std::string awaited = comm_.awaited();
    if (awaited.empty() || fs::exists(ending_.run_dir + "/exit.json", error) || lock_.empty() || lock() != lock_) return {};
    return awaited + ", and its connection to " + address + " was closed: that process, or its whole host, has died";
  }

 private:
  std::string lock() const {
    try {
      return read_file(posix_files(), ending_.run_dir + "/lock.json", 1 << 16, Links::kRefuse);
    } catch (const StorageError&) {
      return {};
    }
  }
  const Ending& ending_;
  const Communicator& comm_;
  Connections connections_;
  std::string lock_;  ///< of this run
};

/// The message of a failed rank. Rank 0 speaks at once; the others wait a moment, for most faults are common to all ranks and
/// rank 0 then ends the job first.
[[noreturn]] void fail_together(MpiSession& session, Ending& ending, const std::string& message, ExitCode code) {
  if (session.rank() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(500));
  ending.record(code, message);
  if (session.rank() == 0) std::fprintf(stderr, "fmtrain: %s\n", message.c_str());
  else std::fprintf(stderr, "fmtrain: [rank %d @%s] %s\n", session.rank(), session.host().c_str(), message.c_str());
  std::fflush(stderr);
  session.abort(static_cast<int>(code));
}

void set_threads(const Config& config, RunOptions& options, int local_ranks) {
  options.threads = threads_of(config, local_ranks);
  at::set_num_threads(options.threads);
}

void set_stop(const Config& config, RunOptions& options) {
  const double limit = config.run.time_limit.value_or(0), started = options.started;
  options.stop_requested = [limit, started, end = slurm_deadline()](double needed) {
    return stop_signalled() || (limit > 0 && steady_seconds() - started + needed > limit) || (end > 0 && wall() + needed > end);
  };
}

const char* reason_of(ExitCode code) {
  switch (code) {
    case ExitCode::kOk:
      return "complete";
    case ExitCode::kRequeue:
      return "asked to stop; the state is saved";
    default:
      return "complete, with a finding";
  }
}

/// Where the ranks of a node show how far they are; alone, a rank shows it to itself. The memory is `host`'s.
struct Seats {
  Seats(Communicator& host, int local_size) {
    if (host.size() == 1) own = std::make_unique<Seat[]>(1);
    else shared = host.allocate_shared(static_cast<int64_t>(sizeof(Seat)) * local_size, at::kByte);
  }
  Seat* data() { return own ? own.get() : reinterpret_cast<Seat*>(shared.data_ptr<uint8_t>()); }
  std::unique_ptr<Seat[]> own;
  at::Tensor shared;
};

/// What the watchdog does about a fault.
WatchActions actions_of(MpiSession* session, const Ending& ending, RecordingCommunicator& comm) {
  WatchActions actions;
  actions.record = [&ending](const Finding& found) {
    if (found.first) std::fprintf(stderr, "fmtrain: [rank %d @%s] %s\n", ending.rank, ending.host.c_str(), found.reason.c_str());
    ending.record(found);
  };
  actions.end = [session](ExitCode code) {
    if (session) session->abort(static_cast<int>(code));
    std::fflush(nullptr);
  };
  actions.refresh = [&comm] { return comm.refresh(), comm.meetings(); };
  return actions;
}

/// Where the ranks meet. While a fault is recorded it is still there.
struct World {
  std::optional<Seats> seats;
  DeviceWorld device;
  std::unique_ptr<RecordingCommunicator> comm;
};

/// `alike`: ranks that are not, or that have no device, do not come to work.
void join(World& world, Ending& ending, const Config& config, MpiSession* session, bool alike) {
  const int local_rank = session ? session->local_rank() : 0, local_size = session ? session->local_size() : 1;
  // one rank under a launcher has nobody to share memory with: shared windows come in small pages, in which a pass over all parameters
  // takes twice as long
  auto host = session && session->size() > 1 ? make_mpi_communicator(*session, mpi_options()) : make_single_communicator();
  if (alike) check_agreement(*host, computation_hash(config) + config.run.dir);
  world.seats.emplace(*host, local_size);
  world.device = make_device_world(alike ? config.engine.device : Device::kCpu, std::move(host), local_rank, ending.host, gpu_sharing_wanted());
  ending.device = world.device.device;
  Seat* const seats = world.seats->data();
  world.comm = make_recording_communicator(*world.device.comm, seats[local_rank].journal);
  WatchOptions options = watch_options();
  options.awaited = [&comm = *world.comm] { return comm.awaited(); };
  if (session && session->size() > local_size) {
    options.linger = options.period + 1;
    options.lost = LostHosts(ending, *world.comm);
  }
  ending.watchdog.emplace(seats, local_rank, local_size, ending.rank, ending.host, ending.status, options,
                          actions_of(session, ending, *world.comm));
}

/// MPI, where a launcher started this process.
void join_launched(std::optional<MpiSession>& session, bool alike) try {
  if (!launched_by_mpi()) return;
  die_with_parent();
  skip_networks_on_one_host();
  session.emplace(alike ? launched_processes() : 0);
} catch (const CommError& error) {
  throw ConfigError(error.what());
}

int run_here(const std::function<Config()>& load, const CheckAction& action, bool alike) {
  take_stop_signals();
  start_ledger();
  RunOptions options;
  options.started = steady_seconds();
  options.versions = program_versions();
  options.job = slurm_job();
  options.restart = slurm_restarts();
  options.terminal = terminal();
  std::optional<MpiSession> session;
  World world;
  Ending ending;  // last, for its watchdog looks into the world
  options.status = &ending.status;
  join_launched(session, alike);
  std::optional<Config> config;
  const auto fail = [&](const std::string& message, ExitCode code) {
    if (session) fail_together(*session, ending, message, code);
    ending.record(code, message);
  };
  try {
    config = load();
    if (alike) ending.run_dir = config->run.dir;
    if (session) {
      ending.rank = session->rank();
      options.host = ending.host = session->host();
      options.hosts = std::max(1, session->size() / session->local_size());
    }
    join(world, ending, *config, session ? &*session : nullptr, alike);
    options.device = ending.device;
    set_threads(*config, options, session ? session->local_size() : 1);
    options.placement = placement_lines(*world.comm, {ending.rank, session ? session->local_rank() : 0, ending.host, world.device.gpu, "",
                                                      options.threads, own_cores()});
    set_stop(*config, options);
    const ExitCode code = action(*config, *world.comm, options, session ? &*session : nullptr);
    if (ending.rank == 0) ending.record(code, reason_of(code));
    return static_cast<int>(code);
  } catch (const Error& error) {
    fail(error.what(), error.code());
    throw;
  } catch (const CommError& error) {
    fail(error.what(), ExitCode::kConfig);
    throw ConfigError(error.what());
  } catch (const PeerDied& error) {
    fail(error.what(), ExitCode::kPeerDied);
    throw;
  } catch (const PeerSilent& error) {
    fail(error.what(), ExitCode::kHang);
    throw;
  } catch (const std::exception& error) {
    if (config && is_out_of_memory(error)) {
      const ConfigError memory(out_of_memory_text(error, *config));
      fail(memory.what(), memory.code());
      throw memory;
    }
    fail(std::string("internal error: ") + error.what(), ExitCode::kInternal);
    throw;
  }
}

}  // namespace

int run_in_world(const std::function<Config()>& load, const WorldAction& action) {
  const auto check_action = [&](const Config& config, Communicator& comm, RunOptions& options, const MpiSession*) {
    return action(config, comm, options);
  };
  return run_here(load, check_action, true);
}

int run_in_any_world(const std::function<Config()>& load, const CheckAction& action) { return run_here(load, action, false); }

}  // namespace fmtrain
