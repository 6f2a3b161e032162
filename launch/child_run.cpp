#include "launch/child_run.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <thread>

#include "comm/journal.h"
#include "launch/environment.h"
#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/watch/signals.h"

namespace fmtrain {
namespace {

constexpr double kToClose = 10;  ///< seconds between asking and killing

/// Waits until `end`, or until this program is asked to stop where `listens`; false: it still runs.
bool ended(pid_t pid, double end, bool listens, int& status) {
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (steady_seconds() > end || (listens && stop_signalled())) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

void send_to(posix_spawn_file_actions_t& actions, int fd, const std::string& file) {
  if (!file.empty()) posix_spawn_file_actions_addopen(&actions, fd, file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
}

}  // namespace

pid_t start_child(const std::vector<std::string>& words, const ChildOutput& output) {
  std::vector<std::string> copies = words;
  std::vector<char*> arguments;
  for (auto& word : copies) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  send_to(actions, 1, output.out);
  if (output.errors == output.out && !output.out.empty()) posix_spawn_file_actions_adddup2(&actions, 1, 2);
  else send_to(actions, 2, output.errors);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  const int failed = ::posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed) throw ConfigError(words[0] + ": cannot be started: " + std::strerror(failed));
  return pid;
}

int exit_code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

void must_start_itself(const std::string& what) {
  if (launched_by_mpi())
    throw ConfigError(what + " starts the ranks itself: start it without mpirun or srun, and name the launcher with --launcher");
}

void child_failed(int ranks, int code, const std::string& output) {
  const bool ours = code >= static_cast<int>(ExitCode::kConfig) && code <= static_cast<int>(ExitCode::kLocked);
  std::string text = "the run on " + std::to_string(ranks) + " ranks ended with " + std::to_string(code) + ": " + last_words(output);
  if (!ours)
    text += "; if the launcher refuses so many ranks, give its options: --launcher \"mpirun --oversubscribe -np {ranks}\"";
  throw Error(ours ? static_cast<ExitCode>(code) : ExitCode::kConfig, text);
}

void check_warmup(int64_t steps, int64_t warmup) {
  if (warmup >= steps)
    throw ConfigError("--warmup " + std::to_string(warmup) + ": leaves nothing of --steps " + std::to_string(steps));
}

std::vector<std::string> launcher_words(const std::string& launcher, int ranks) {
  std::vector<std::string> words;
  bool named = false;
  std::istringstream text(launcher);
  for (std::string word; text >> word; words.push_back(word))
    for (size_t at; (at = word.find("{ranks}")) != std::string::npos; named = true) word.replace(at, 7, std::to_string(ranks));
  if (!named && ranks > 1)
    throw ConfigError("--launcher \"" + launcher + "\": {ranks} is missing, which stands for their number");
  return words;
}

int run_child(const std::vector<std::string>& words, const std::string& output, double limit) {
  const pid_t pid = start_child(words, {output, output});
  int status = 0;
  if (ended(pid, steady_seconds() + limit, true, status)) return exit_code_of(status);
  ::kill(pid, SIGTERM);
  if (!ended(pid, steady_seconds() + kToClose, false, status)) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
  }
  if (stop_signalled()) throw Error(ExitCode::kRequeue, "asked to stop; what was measured until then is written");
  throw ConfigError(words[0] + ": did not end within " + std::to_string(static_cast<long long>(limit)) +
                    " s and was ended; raise --limit or take fewer --steps");
}

std::vector<std::string> update_settings(int64_t steps) {
  const std::string count = std::to_string(steps);
  return {"data.validation=null",       "data.test=null",      "schedule.steps=" + count,  "checkpoint.every=" + count,
          "checkpoint.seconds=1000000", "report.progress=off", "report.tensorboard=false", "report.bootstrap=0"};
}

BenchPlace::BenchPlace(const std::string& out) : path(out + "/runs-XXXXXX") {
  std::error_code error;
  std::filesystem::create_directories(out, error);
  if (error || !::mkdtemp(path.data())) throw StorageError(out + ": cannot make a folder there; choose another with -o");
}

BenchPlace::~BenchPlace() { remove_tree(posix_files(), path); }

std::string own_program() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

std::string last_words(const std::string& output) {
  std::string text, last, ours;
  try {
    text = read_file(posix_files(), output, 4u << 20, Links::kRefuse);
  } catch (const StorageError&) {
    return "";
  }
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("fmtrain: ")) ours = line.substr(9);
    if (line.find_first_not_of(" -\t\r") != std::string::npos) last = line;
  }
  return quoted(ours.empty() ? last : ours);
}

}  // namespace fmtrain
