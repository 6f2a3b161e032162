#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "runtime/report/html.h"
#include "runtime/scaling/picture.h"
#include "runtime/scaling/simulation.h"

namespace fmtrain {
namespace {

constexpr const char* kStyles[] = {"mean", "valid", "third", "fourth"};

/// Doublings of the ranks; every second one has a text.
Axis rank_axis(double most) {
  Axis axis{0, std::max(1.0, most), {}};
  for (int k = 0; k <= most; k += 2) axis.ticks.push_back({static_cast<double>(k), fmt::format("{}", 1 << k)});
  return axis;
}

Series efficiency_series(const Json& rows, int stage) {
  Series series{.css = kStyles[stage], .points = {}, .dots = true, .digits = 1, .unit = " %"};
  for (const Json& row : rows) {
    const auto ranks = number(field(row, {"ranks"})), value = number(field(row, {"weak", "efficiency"}));
    if (field(row, {"stage"}) != stage || !ranks || !value) continue;
    series.points.push_back({std::log2(*ranks), 100 * *value});
    series.tips.push_back(fmt::format("stage {}, {:.0f} ranks: {:.1f} %", stage, *ranks, 100 * *value));
  }
  return series;
}

}  // namespace

std::string simulation_picture(const Json& simulated) {
  const Json& rows = field(simulated, {"rows"});
  if (!rows.is_array()) return "";
  Plot plot{.title = "Simulated efficiency of weak scaling, percent",
            .x_name = "ranks",
            .height = 220,
            .x_ticks = 6,
            .mark = -1,
            .series = {}};
  double most = 1;
  std::vector<std::pair<std::string, std::string>> keys;
  for (int stage = 0; stage < 4; ++stage) {
    plot.series.push_back(efficiency_series(rows, stage));
    if (plot.series.back().points.empty()) continue;
    most = std::max(most, plot.series.back().points.back().x);
    keys.emplace_back(kStyles[stage], fmt::format("stage {}", stage));
  }
  plot.x_axis = rank_axis(most);
  double highest = 100;
  for (const Series& series : plot.series)
    for (const Point& point : series.points) highest = std::max(highest, point.y);
  plot.y_axis = value_axis(0, highest, 6);
  return picture(plot, "Simulated: weak, %", keys);
}

}  // namespace fmtrain
