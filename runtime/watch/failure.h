// failure.json and failure.txt: why a run broke, for programs and for people.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "runtime/json.h"
#include "runtime/report/run_log.h"
#include "runtime/watch/board.h"

namespace fmtrain {

/// What a rank knows of the end of a run.
struct FailureRecord {
  ExitRecord exit;
  bool found;                           ///< false: another rank has found the fault, and failure.json is that one's
  std::string device;
  std::vector<RankState> ranks;         ///< of its node; may be empty
  std::vector<Collective> collectives;  ///< its own last ones, oldest first
  std::vector<std::string> stack;       ///< of its main thread, innermost function first
  Json ledger;                          ///< of its tensors (out_of_memory.h)
  std::vector<std::pair<std::string, std::string>> environment;  ///< name and value of what may be written
};

/// Exit codes at which ranks wait for each other, so that each one's own record is of use: 1, 7, 8.
bool of_all_ranks(int code);

/// run_dir/failure.json and failure.txt of the first rank that fails; later ones change nothing. With a code
/// of_all_ranks every rank that comes here also leaves failure.rank-N.json with the same fields. Never throws.
void write_failure(const std::string& run_dir, const FailureRecord& record) noexcept;
/// Removes those of an earlier start.
void clear_failure(const std::string& run_dir) noexcept;

}  // namespace fmtrain
