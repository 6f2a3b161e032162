// The report of a run as text: a pure function of report.json.
#pragma once
#include <string>

#include "runtime/json.h"

namespace fmtrain {

/// The before/after table, speed, and the per-label figures of the last evaluation; at most 100 columns.
std::string report_text(const Json& report);

}  // namespace fmtrain
