// The parts of the HTML report, each "" when its data is missing. report_html.h says what they get.
#pragma once
#include <string>
#include <vector>

#include "runtime/json.h"

namespace fmtrain {

/// A metric of docs/evaluation.md in the words of the field; nullptr: not shown.
const char* metric_title(const std::string& metric, bool tagging);
/// The metric that stands for an evaluation: its "headline", "" without.
std::string headline_of(const Json& evaluation);
/// Entities rather than classes.
bool is_tagging(const Json& evaluation);

/// Loss, learning rate, metric on validation, gradient norm.
std::string curves_html(const Json& report, const std::vector<Json>& steps, const std::vector<Json>& evaluations);
/// Figures per type or class; for tagging, the words with O.
std::string labels_html(const Json& before, const Json& after);
/// Most confused pairs and the matrix.
std::string confusion_html(const Json& evaluation);
/// Where the time went, speed, memory.
std::string resources_html(const Json& report);
/// Data, run, versions, hashes.
std::string facts_html(const Json& report);

extern const char* const kReportStyle;  ///< CSS

}  // namespace fmtrain
