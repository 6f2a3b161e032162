// The report of a run as one HTML page: inline style and SVG, no script, nothing loaded from elsewhere. The page is well-formed
// XML too. It reads on a telephone, on paper, and in dark mode.
#pragma once
#include <string>
#include <vector>

#include "runtime/json.h"

namespace fmtrain {

/// A pure function of what a run directory holds: `report` = report.json, `steps` = lines of log.jsonl (see StepRecord),
/// `evaluations` = lines of eval.jsonl ({step, split, loss, metrics {...}}). A part that is missing or null takes its section
/// with it; nothing is required.
///
/// Bounds, whatever the length of the run: a curve shows at most 400 points (svg.h says which are kept), a list of evaluations
/// 200, the per-label table the 200 labels with most support, the confusion matrix the 30 labels with most errors, memory 64
/// ranks, a text 60 characters; the page says what it leaves out. About 300 KB at most.
///
/// Metrics are percent with two digits, losses have four. All text from the data is escaped.
std::string report_html(const Json& report, const std::vector<Json>& steps, const std::vector<Json>& evaluations);

}  // namespace fmtrain
