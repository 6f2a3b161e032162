// failure.json and failure.txt: why a run broke, for programs and for people.
#pragma once
#include <string>
#include <vector>

#include "runtime/report/run_log.h"
#include "runtime/watch/board.h"

namespace fmtrain {

/// run_dir/failure.json and failure.txt of the first rank that fails; later ones change nothing. `ranks`: of this node, may be
/// empty. Of the environment only names from a list are written. Never throws.
void write_failure(const std::string& run_dir, const ExitRecord& record, const std::string& device, const std::vector<RankState>& ranks) noexcept;
/// Removes those of an earlier start.
void clear_failure(const std::string& run_dir) noexcept;

}  // namespace fmtrain
