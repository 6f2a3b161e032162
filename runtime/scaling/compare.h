// Two scaling.json side by side: two clusters, or two versions of the program on one.
#pragma once
#include <string>

#include "runtime/json.h"

namespace fmtrain {

/// A scaling.json from outside. Throws DataError with the file and the member at fault: another kind or version, a member that
/// is missing, of another type, not finite or out of its bounds (at most 10,000 rows, 100 repetitions, 16 MiB). No link is
/// followed.
Json read_scaling(const std::string& path);

/// {"version": 1, "kind": "fmtrain scaling comparison", "names": [a, b],
///  "setups": [{"what", "a", "b"}],      what differs in plan and machine
///  "comparable": false when the two did not train the same: config, batch, updates or overrides,
///  "chance": that a figure without a difference is called changed (spread.h),
///  "rows": [{"mode", "ranks", "in": "both" | "a" | "b", "oversubscribed": of either,
///            "figures": {name: {"a", "b": {"median", "min", "max"}, "ratio": of the medians, b / a, "changed": beyond the
///            noise}}}]}
/// Both as read_scaling gives them.
Json compare_scaling(const Json& a, const Json& b, const std::string& name_a, const std::string& name_b);
/// Of what that gives.
std::string comparison_text(const Json& comparison);

}  // namespace fmtrain
