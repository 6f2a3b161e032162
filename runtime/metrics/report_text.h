// The tables people know, as text, from the JSON that metrics_of gives.
#pragma once
#include <string>

#include "runtime/json.h"
#include "runtime/metrics/tag_set.h"

namespace fmtrain {

/// Layout of scikit-learn's classification_report (1.2) and of seqeval's: label column right-aligned to the longest name or
/// "weighted avg", cells of width 9 with two digits. `labels` and `averages` are rows as scores.h describes them.
std::string report_table(const Json& labels, const Json& averages);

/// The text of one evaluation: a headline with intervals, the table per entity type or class, for tagging the lenient scores
/// beside it and the table over words, and how many cells were undefined. Headlines in percent, tables in fractions.
std::string evaluation_text(const Json& evaluation);

/// conlleval's own output (percent), so that scripts that read it can read ours; `mode` chooses what counts as an entity.
std::string conlleval_text(const Json& evaluation, EntityMode mode);

}  // namespace fmtrain
