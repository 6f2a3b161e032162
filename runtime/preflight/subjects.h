// What a run is made of, as every rank sees it: program, data, weights, memory, checkpoints, time. Judgements only.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/file_ops.h"
#include "runtime/preflight/row.h"

namespace fmtrain {

/// Who says something: "rank 2 on h1".
std::vector<std::string> rank_names(const std::vector<std::string>& host_of_rank);

/// `values` of each rank, one for each of `what`: the ranks whose value is not that of most ranks (of equally many, the lowest
/// rank's) are named in `row`, which fails with `code` and says `fix`; equal ones leave it as it is.
void judge_equal(Row& row, const std::vector<std::string>& what, const std::vector<std::vector<std::string>>& values,
                 const std::vector<std::string>& names, const std::string& fix);

/// What went wrong on each rank ("" where nothing did), all of one row.
void judge_faults(Row& row, const std::vector<std::string>& faults, const std::vector<std::string>& names);

/// What one rank would need of memory and may take, bytes; limit 0: unknown.
struct RankNeed {
  int64_t total = 0, limit = 0;
  std::string source;   ///< of the limit
  std::string advice;   ///< what would fit; empty: it fits, or nothing would
};
/// Fails (2) where a rank needs more than it may take.
Row judge_memory(const std::vector<RankNeed>& needs, const std::vector<std::string>& names);

/// Warns where `steps` of `step_seconds` do not fit into `limit` seconds; 0: not known.
Row judge_time(int64_t steps, double step_seconds, double limit);

/// Median of seconds.total of the last 50 updates in RUN/log.jsonl; 0 without one.
double logged_step_seconds(FileOps& files, const std::string& run_dir);

}  // namespace fmtrain
