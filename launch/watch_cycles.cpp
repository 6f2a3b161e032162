#include "launch/watch_cycles.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <thread>

#include "runtime/errors.h"
#include "runtime/watch/signals.h"

extern char** environ;

namespace fmtrain {
namespace {

using Clock = std::chrono::steady_clock;

std::string this_program() {
  char path[4096];
  const ssize_t size = ::readlink("/proc/self/exe", path, sizeof path);
  if (size <= 0) throw ConfigError(std::string("watch: cannot find this program: ") + std::strerror(errno));
  return {path, static_cast<size_t>(size)};
}

std::vector<std::string> command_of(const WatchCycles& watch) {
  std::vector<std::string> words;
  std::istringstream launcher(watch.launcher);
  for (std::string word; launcher >> word;) words.push_back(word);
  words.insert(words.end(), {this_program(), "continual", "run", watch.config});
  for (const auto& setting : watch.overrides) words.insert(words.end(), {"--set", setting});
  return words;
}

pid_t start(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = 0;
  // The child starts with no signal caught: what this process does with them is not its own.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t all;
  sigfillset(&all);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  const int error = ::posix_spawnp(&pid, arguments[0], nullptr, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  if (error) throw ConfigError("watch: cannot start " + words[0] + ": " + std::strerror(error));
  return pid;
}

/// Exit code of a run, 128 + signal where one ended it.
int end_of(pid_t pid) {
  bool told = false;
  for (;;) {
    int status = 0;
    const pid_t ended = ::waitpid(pid, &status, WNOHANG);
    if (ended == pid) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (ended < 0 && errno != EINTR) return -1;
    if (stop_signalled() && !told) told = ::kill(pid, SIGTERM) == 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

}  // namespace

int watch_cycles(const WatchCycles& watch) {
  take_stop_signals();
  const auto command = command_of(watch);
  while (!stop_signalled()) {
    const auto next = Clock::now() + std::chrono::duration<double>(watch.every);
    const int code = end_of(start(command));
    if (code == static_cast<int>(ExitCode::kRequeue) && !stop_signalled()) continue;
    if (code != 0 && !stop_signalled())
      std::fprintf(stderr, "fmtrain: continual run ended with exit code %d; tried again in %.0f s\n", code, watch.every);
    while (Clock::now() < next && !stop_signalled()) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return 0;
}

}  // namespace fmtrain
