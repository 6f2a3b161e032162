// The one number a run is steered by (evaluate.metric).
#pragma once
#include <string>
#include <vector>

#include "runtime/json.h"

namespace fmtrain {

/// auto, f1, accuracy, macro_f1, precision, recall, loss.
const std::vector<std::string>& metric_names();

/// The metric `name` of an evaluation: what metrics_of gives, with the member "loss" that the evaluator adds. "auto" is the
/// member "headline": f1 of a tagging set, accuracy of a classification set. Throws ConfigError on an unknown name.
double metric_value(const Json& evaluation, const std::string& name);

/// False for loss.
bool larger_is_better(const std::string& name);

}  // namespace fmtrain
