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

/// The message of a failed rank. Rank 0 speaks at once; the others wait a moment, for most faults are common to all ranks and
/// rank 0 then ends the job first.
[[noreturn]] void fail_together(MpiSession& session, const std::string& message, ExitCode code) {
  if (session.rank() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(500));
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
  catch_signals();
  std::optional<MpiSession> session;
  try {
    if (MpiSession::launched()) session.emplace();
  } catch (const CommError& error) {
    throw ConfigError(error.what());
  }
  try {
    const Config config = load_config(config_path, overrides);
    if (config.engine.device == Device::kCuda) throw ConfigError("engine.device: cuda is not available in this build, use cpu");
    if (!session) return static_cast<int>(train_in_world(config, *make_single_communicator(), options, 1));
    options.hosts = std::max(1, session->size() / session->local_size());
    const auto comm = make_mpi_communicator(*session, mpi_options());
    return static_cast<int>(train_in_world(config, *comm, options, session->local_size()));
  } catch (const Error& error) {
    if (!session) throw;
    fail_together(*session, error.what(), error.code());
  } catch (const CommError& error) {
    fail_together(*session, error.what(), ExitCode::kConfig);
  } catch (const PeerDied& error) {
    fail_together(*session, error.what(), ExitCode::kPeerDied);
  } catch (const PeerSilent& error) {
    fail_together(*session, error.what(), ExitCode::kHang);
  } catch (const std::exception& error) {
    if (!session) throw;
    fail_together(*session, std::string("internal error: ") + error.what(), ExitCode::kInternal);
  }
}

}  // namespace fmtrain
