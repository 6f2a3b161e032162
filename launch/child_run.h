// This program as a child of itself, under a launcher.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace fmtrain {

/// The words of `launcher`, "{ranks}" replaced; ConfigError when it does not name {ranks} and there is more than one.
std::vector<std::string> launcher_words(const std::string& launcher, int ranks);

/// Starts `words`, what it prints going to the file `output`, and waits at most `limit` seconds for its end. Its exit code;
/// ConfigError when it cannot be started, and when it was ended because of the limit.
int run_child(const std::vector<std::string>& words, const std::string& output, double limit);

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
