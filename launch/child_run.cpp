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

#include "runtime/errors.h"
#include "runtime/file_ops.h"

namespace fmtrain {
namespace {

constexpr double kToClose = 10;  ///< seconds between asking and killing

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Waits until `end`; false: it still runs.
bool ended(pid_t pid, double end, int& status) {
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

pid_t start(const std::vector<std::string>& words, const std::string& output) {
  std::vector<std::string> copies = words;
  std::vector<char*> arguments;
  for (auto& word : copies) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t pid = 0;
  const int failed = ::posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed) throw ConfigError(words[0] + ": cannot be started: " + std::strerror(failed));
  return pid;
}

}  // namespace

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
  const pid_t pid = start(words, output);
  int status = 0;
  if (ended(pid, now() + limit, status)) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  ::kill(pid, SIGTERM);
  if (!ended(pid, now() + kToClose, status)) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
  }
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
