// The report of a run as text: a pure function of report.json.
#pragma once
#include <string>

#include "runtime/json.h"

namespace fmtrain {

/// Before and after of each split, the tables per label of the last one (test, else validation), speed, time, memory; the last
/// line holds the hash of the weights. A part that is missing or null is left out. Percent in the before/after tables,
/// fractions in scikit-learn's layout below; at most 100 columns, longer names are cut.
std::string report_text(const Json& report);

}  // namespace fmtrain
