#include "launch/run.h"

#include <ATen/Parallel.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <optional>
#include <thread>

#include "comm/errors.h"
#include "comm/mpi_communicator.h"
#include "comm/mpi_session.h"
#include "launch/device.h"
#include "launch/versions.h"
#include "runtime/report/run_log.h"
#include "runtime/trainer.h"

namespace fmtrain {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::atomic<bool> stop_signal{false};
void on_signal(int) { stop_signal = true; }

/// SIGTERM and SIGUSR1 ask for a checkpoint at the next step boundary.
void catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGTERM, SIGUSR1}) sigaction(signal, &action, nullptr);
}

/// Cores this process may use, over the ranks of the node; OMP_NUM_THREADS and engine.threads go first.
int threads_of(const Config& config, int local_ranks) {
  if (config.engine.threads) return static_cast<int>(*config.engine.threads);
  if (const char* text = std::getenv("OMP_NUM_THREADS"); text && std::atoi(text) > 0) return std::atoi(text);
  cpu_set_t set;
  sched_getaffinity(0, sizeof set, &set);
  const int mine = CPU_COUNT(&set), all = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return std::max(1, mine < all ? mine : all / local_ranks);
}

/// FMTRAIN_WAIT_LIMIT: seconds that a rank waits for another one before it ends the job.
MpiOptions mpi_options() {
  MpiOptions options;
  const char* text = std::getenv("FMTRAIN_WAIT_LIMIT");
  if (!text) return options;
  char* end = nullptr;
  options.wait_limit = std::chrono::duration<double>(std::strtod(text, &end));
  if (end == text || *end || !(options.wait_limit.count() >= 1 && options.wait_limit.count() <= 1e6))
    throw ConfigError("FMTRAIN_WAIT_LIMIT: " + quoted(text) + " is not a number of seconds from 1 to 1000000");
  return options;
}

/// How a run ended, as far as this rank knows.
struct Ending {
  std::string run_dir, host = "localhost";
  int rank = 0;
  RunStatus status;

  void record(ExitCode code, const std::string& reason) const {
    if (!run_dir.empty()) write_exit(run_dir, {static_cast<int>(code), reason, rank, host, status.phase, status.step});
  }
};

/// The message of a failed rank. Rank 0 speaks at once; the others wait a moment, for most faults are common to all ranks and
/// rank 0 then ends the job first.
[[noreturn]] void fail_together(MpiSession& session, const Ending& ending, const std::string& message, ExitCode code) {
  if (session.rank() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(500));
  ending.record(code, message);
  if (session.rank() == 0) std::fprintf(stderr, "fmtrain: %s\n", message.c_str());
  else std::fprintf(stderr, "fmtrain: [rank %d @%s] %s\n", session.rank(), session.host().c_str(), message.c_str());
  std::fflush(stderr);
  session.abort(static_cast<int>(code));
}

ExitCode train_in_world(const Config& config, Communicator& comm, RunOptions& options, int local_ranks) {
  options.threads = threads_of(config, local_ranks);
  at::set_num_threads(options.threads);
  const double limit = config.run.time_limit.value_or(0), started = options.started;
  options.stop_requested = [limit, started] { return stop_signal.load() || (limit > 0 && now() - started > limit); };
  return train(config, comm, options);
}

}  // namespace

int run_training(const std::string& config_path, const std::vector<std::string>& overrides, bool resume) {
  RunOptions options;
  options.started = now();
  options.resume = resume;
  options.versions = program_versions();
  Ending ending;
  options.status = &ending.status;
  catch_signals();
  std::optional<MpiSession> session;
  try {
    if (MpiSession::launched()) session.emplace();
  } catch (const CommError& error) {
    throw ConfigError(error.what());
  }
  const auto fail = [&](const std::string& message, ExitCode code) {
    if (session) fail_together(*session, ending, message, code);
    ending.record(code, message);
  };
  try {
    const Config config = load_config(config_path, overrides);
    ending.run_dir = config.run.dir;
    if (session) {
      ending.rank = session->rank();
      options.host = ending.host = session->host();
      options.hosts = std::max(1, session->size() / session->local_size());
    }
    const auto world = make_device_world(config.engine.device, session ? make_mpi_communicator(*session, mpi_options()) : make_single_communicator(),
                                         session ? session->local_rank() : 0, options.host);
    options.device = world.device;
    const ExitCode code = train_in_world(config, *world.comm, options, session ? session->local_size() : 1);
    if (ending.rank == 0) ending.record(code, code == ExitCode::kOk ? "complete" : "asked to stop; the state is saved");
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
    fail(std::string("internal error: ") + error.what(), ExitCode::kInternal);
    throw;
  }
}

}  // namespace fmtrain
