// The pre-flight as a table for people and as JSON for programs.
#pragma once
#include <string>
#include <vector>

#include "runtime/preflight/places.h"
#include "runtime/preflight/row.h"

namespace fmtrain {

struct Preflight {
  std::vector<RankPlace> places;  ///< by rank
  std::vector<Row> rows;
  Json run;                   ///< of dry_run, for this world; null where it could not be made
  double seconds = 0;         ///< that all checks took
};

/// The ranks (the first 64), a line a check, details and the fix under what is not well, and the verdict.
std::string preflight_text(const Preflight& checks);

/// {version: 1, verdict (ok, warnings, failed), exit_code, ranks, hosts, seconds, placement [{rank, host, local_rank, device,
/// uuid, threads, cores [...]}], checks [row_json], run {dry_run} or null}.
Json preflight_json(const Preflight& checks);

}  // namespace fmtrain
