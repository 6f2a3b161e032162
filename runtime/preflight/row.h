// One line of the pre-flight: a check, what it found, and what to do about it.
#pragma once
#include <string>
#include <vector>

#include "runtime/errors.h"
#include "runtime/json.h"

namespace fmtrain {

enum class Status { kOk, kWarning, kFailed, kNotRun };

struct Row {
  std::string name;
  Status status = Status::kOk;
  std::string found;                   ///< one line
  std::string fix;                     ///< one line; empty where nothing is wrong
  ExitCode code = ExitCode::kConfig;   ///< of a failure
  std::vector<std::string> details{};  ///< lines for warnings and failures: ranks or hosts at fault
  Json values = Json::object();        ///< figures, for programs; docs/cluster.md lists them
};

/// Worse of the two: kNotRun and kOk are no fault.
inline void raise(Row& row, Status status) {
  if (row.status != Status::kFailed) row.status = status;
}

/// The first failure's code, else 0.
ExitCode verdict_of(const std::vector<Row>& rows);

/// {name, status (ok, warning, failed, not_run), found, fix, exit_code (0 unless failed), details [...], values {...}} and
/// back. What row_from_json gets, row_json has written.
Json row_json(const Row& row);
Row row_from_json(const Json& json);

}  // namespace fmtrain
