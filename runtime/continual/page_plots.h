// The parts of continual.html that are drawn, each "" when its facts are missing. page.h says what they get.
#pragma once
#include <string>
#include <vector>

#include "runtime/json.h"
#include "runtime/report/svg.h"

namespace fmtrain {

constexpr size_t kPageChanges = 200, kPageChecks = 400, kPageCycles = 200;

/// The objects of a list, the last `most` of them; none where it is no list.
std::vector<const Json*> newest(const Json& list, size_t most);
/// "Of 900 checks the newest 400 are shown."; "" when all are.
std::string left_out(const Json& list, size_t most, const std::string& what);

/// [low, high] in seconds since 1970, with at most `most` ticks: whole hours, days or weeks of UTC, as "2026-11-29" or, of
/// hours, "29, 06:00". A range without width is widened by half a day to both sides.
Axis time_axis(double low, double high, int most);
/// Base-10 logarithms of p in [low, 1], 0 < low <= 1, down to a whole one of 0.1 or less; a tick a power of ten: "0.001",
/// "1e-7".
Axis p_axis(double low);

std::string serving_html(const Json& facts);  ///< timeline and table of champions
std::string drift_html(const Json& facts);
std::string scores_html(const Json& facts);  ///< champion and challenger on both test sets

}  // namespace fmtrain
