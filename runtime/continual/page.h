// continual.html of a registry: who serves since when, how the data drifts, what the cycles did. Inline style and SVG, no
// script, nothing loaded from elsewhere; well-formed XML too. In the style of a run's report.html.
#pragma once
#include <string>

#include "runtime/json.h"

namespace fmtrain {

/// A pure function of the facts, of which every member may be missing, null or of another kind: its part is left out then.
/// Times are seconds since 1970 (UTC), scores and differences fractions, versions texts ("000007") or numbers.
///
///   {"version": 1,
///    "registry": name,                     shown in the heading
///    "now": time,                          of the page; timelines end here
///    "champion": version,
///    "serving": [{"version",               a change of the champion, oldest first: from the audit
///                 "from": time,
///                 "action"}],              "promote" or "rollback"
///    "drift": [{"time", "p", "alpha", "severity",     a check of a window, oldest first
///               "verdict",                 "none", "suspected", "drift", "insufficient data"
///               "champion": version}],     whose features were compared
///    "cycles": [{"number", "started": time, "trigger", "stage",     oldest first
///                "verdict",                "promote", "reject", "inconclusive"; null: undecided
///                "reasons": [text], "version": of the challenger,
///                "fresh", "replayed",      texts trained on
///                "rolling": {"champion", "challenger",     scores on the newest labelled window
///                            "lcb95", "ucb95",             bounds of challenger minus champion
///                            "texts"},
///                "core": {...}}],          the same on the frozen test set
///    "tests": [names],                     columns of the matrix
///    "matrix": [[score or null]],          R[i][j]: after cycle i, on test j
///    "measures": {"backward_transfer", "forward_transfer", "mean_forgetting", "largest_forgetting", "forgetting": [...]},
///    "next_due": time, null: on no schedule
///    "braked": text}                       why no cycle may start now; "" or null: one may
///
/// Bounds, whatever the age of the registry: the newest 400 checks, 200 changes of the champion and 200 cycles, of the matrix
/// 24 rows and columns, of a cycle 5 reasons of 160 characters, of other texts 60; the page says what it leaves out. About
/// 500 KB at most. All text is escaped.
std::string continual_page(const Json& facts);

}  // namespace fmtrain
