// A plot as an SVG file that stands by itself, for documents.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "runtime/report/svg.h"

namespace fmtrain {

/// `keys`: class of a series ("mean", "valid", "third", "fourth") and what it is. "" when the plot has no point.
std::string picture(const Plot& plot, const std::string& heading, const std::vector<std::pair<std::string, std::string>>& keys);

}  // namespace fmtrain
