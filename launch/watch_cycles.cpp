#include "launch/watch_cycles.h"

#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <thread>

#include "launch/child_run.h"
#include "runtime/errors.h"
#include "runtime/watch/signals.h"

namespace fmtrain {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<std::string> command_of(const WatchCycles& watch) {
  auto words = launcher_words(watch.launcher, 1);
  words.insert(words.end(), {own_program(), "continual", "run", watch.config});
  for (const auto& setting : watch.overrides) words.insert(words.end(), {"--set", setting});
  return words;
}

/// Exit code of a run, which is asked to stop where this program was.
int end_of(pid_t pid) {
  bool told = false;
  for (int status = 0;;) {
    const pid_t ended = ::waitpid(pid, &status, WNOHANG);
    if (ended == pid) return exit_code_of(status);
    if (ended < 0 && errno != EINTR) return -1;
    // mpirun passes SIGUSR1 on to the ranks, which save; at SIGTERM it ends them.
    if (stop_signalled() && !told) told = ::kill(pid, SIGUSR1) == 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

}  // namespace

int watch_cycles(const WatchCycles& watch) {
  take_stop_signals();
  const auto command = command_of(watch);
  while (!stop_signalled()) {
    const auto next = Clock::now() + std::chrono::duration<double>(watch.every);
    const int code = end_of(start_child(command));
    if (code == static_cast<int>(ExitCode::kRequeue) && !stop_signalled()) continue;
    if (code != 0 && !stop_signalled())
      std::fprintf(stderr, "fmtrain: continual run ended with exit code %d; tried again in %.0f s\n", code, watch.every);
    while (Clock::now() < next && !stop_signalled()) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return 0;
}

}  // namespace fmtrain
