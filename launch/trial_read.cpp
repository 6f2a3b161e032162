#include "launch/trial_read.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "launch/commands.h"
#include "runtime/data/dataset_file.h"
#include "runtime/data/prepare.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

constexpr const char* kCommand = "read-prepared";
constexpr rlim_t kMemory = rlim_t{2} << 30, kSeconds = 60;  ///< beside what a sound file of its size needs
constexpr rlim_t kCopies = 4, kBytesPerSecond = 20'000'000;  ///< held at once; read and hashed at the very least

void limit(__rlimit_resource_t resource, rlim_t value) {
  const rlimit both{value, value};
  ::setrlimit(resource, &both);
}

/// Memory, processor time, no written byte, no core file. Not the address space: that of LibTorch's libraries alone is gigabytes.
void limit_process(rlim_t bytes) {
  limit(RLIMIT_DATA, kMemory + kCopies * bytes);
  limit(RLIMIT_CPU, kSeconds + bytes / kBytesPerSecond);
  limit(RLIMIT_FSIZE, 0);
  limit(RLIMIT_CORE, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int read_prepared(const std::string& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  limit_process(error ? 0 : bytes);
  read_dataset_file(path);
  return 0;
}

/// Wait status of this program reading `path`.
int status_of_reading(const std::string& path) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const int fd : {0, 1, 2}) posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  std::string name = "fmtrain", command = kCommand, end = "--", file = path;
  char* arguments[] = {name.data(), command.data(), end.data(), file.data(), nullptr};
  pid_t child = 0;
  const int failed = ::posix_spawn(&child, "/proc/self/exe", &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed) throw Error(ExitCode::kInternal, path + ": cannot start a process to read it: " + std::strerror(failed));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) throw Error(ExitCode::kInternal, path + ": cannot wait for the process that reads it: " + std::strerror(errno));
  return status;
}

}  // namespace

void trial_read(const std::string& path, Format format) {
  if (path.empty() || !is_prepared(path, format)) return;
  const int status = status_of_reading(path);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (code == 0 || code == static_cast<int>(ExitCode::kData)) return;
  throw DataError(path + ": is damaged, or made to harm: a process that only read it ended with " +
                  (code < 0 ? std::string("signal ") + ::strsignal(WTERMSIG(status)) : "exit code " + std::to_string(code)));
}

void trial_read(const Config& config) {
  for (const auto* file : {&config.data.train, &config.data.validation, &config.data.test}) trial_read(*file, config.data.format);
}

void add_read_prepared(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand(kCommand, "For the program's own use: reads a prepared file, with limits on what that may take.");
  command->group("");  // not listed
  const auto path = std::make_shared<std::string>();
  command->add_option("FILE", *path, "prepared file")->required();
  command->callback([&action, path] { action = [path] { return read_prepared(*path); }; });
}

}  // namespace fmtrain
