// This program as a child of itself, mostly under a launcher.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace fmtrain {

/// ConfigError under a launcher: `what` starts its ranks itself.
void must_start_itself(const std::string& what);

/// For a child that ended with `code`: throws that code where it is one of this program's, so that a fault of the config or the data
/// keeps its meaning, else ConfigError; with its last_words().
[[noreturn]] void child_failed(int ranks, int code, const std::string& output);

/// The words of `launcher`, "{ranks}" replaced; ConfigError when it does not name {ranks} and there is more than one.
std::vector<std::string> launcher_words(const std::string& launcher, int ranks);

/// Files for what a child prints; "": where this program's goes. Equal ones are one file.
struct ChildOutput {
  std::string out, errors;
};

/// Starts `words` with nothing to read and no signal blocked, whatever this process blocks. ConfigError when it cannot be started.
pid_t start_child(const std::vector<std::string>& words, const ChildOutput& output = {});

/// Exit code of what waitpid() said; 128 + the signal where one ended it.
int exit_code_of(int status);

/// Starts `words`, what it prints going to the file `output`, and waits at most `limit` seconds for its end. Its exit code;
/// ConfigError when it cannot be started, and when it was ended because of the limit; Error with kRequeue when this program was asked to
/// stop (take_stop_signals()): the child was ended.
int run_child(const std::vector<std::string>& words, const std::string& output, double limit);

/// ConfigError where `warmup` updates leave nothing of `steps`.
void check_warmup(int64_t steps, int64_t warmup);

/// Settings of a run that makes `steps` updates and as little else as possible.
std::vector<std::string> update_settings(int64_t steps);

/// A folder for runs inside `out`, which is made; gone at the end. Throws StorageError.
struct BenchPlace {
  explicit BenchPlace(const std::string& out);
  ~BenchPlace();
  BenchPlace(const BenchPlace&) = delete;
  BenchPlace& operator=(const BenchPlace&) = delete;
  std::string path;
};

/// This program's file.
std::string own_program();

/// The last line of `output` that this program or its launcher wrote to explain itself; "" without.
std::string last_words(const std::string& output);

}  // namespace fmtrain
