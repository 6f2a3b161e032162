// Plots as inline SVG that keep their text size at any width: positions along x are percent of the drawing, heights are pixels.
// Colours come from CSS classes (report_style.cpp), so that they follow the page's colour scheme.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fmtrain {

/// y that is not finite, or beyond 1e30: a gap in the line.
struct Point {
  double x = 0, y = 0;
};

/// At most `limit` (an even number, 2 or more) of `points`, in their order: all of them when they are that few; else they are
/// dealt into limit / 2 runs of equal length, and each run keeps its lowest and its highest point (the first where there are
/// several), a run with gaps only one gap. So no peak is lost.
std::vector<Point> thinned(std::span<const Point> points, size_t limit);

/// Means of the `window` (odd) points around each of at most `limit` (2 or more) places that lie evenly over the points, the
/// first and the last among them. Gaps and places beyond the ends do not count; a mean of nothing is a gap.
std::vector<Point> smoothed(std::span<const Point> points, size_t window, size_t limit);

/// A place on an axis with its text: "0.5", "20,000", "1.5M" (from a million), "2e-4" (steps below 0.001).
struct Tick {
  double value = 0;
  std::string text;
};
struct Axis {
  double low = 0, high = 1;
  std::vector<Tick> ticks;  ///< multiples of 1, 2 or 5 times a power of ten, of the smallest step that needs at most `most`
};
/// [low, high] and the ticks inside; the step is a whole number (axis of counts).
Axis count_axis(double low, double high, int most);
/// [low, high] widened to the ticks around it (a billionth of a step may stand out), and down to 0 when `low` is positive and
/// less than half of `high`. A range without width is widened. `most` is at least 3.
Axis value_axis(double low, double high, int most);

/// A vertical line behind the dots, as for an interval of certainty.
struct Upright {
  double x = 0, low = 0, high = 0;
};

struct Series {
  std::string css;            ///< class of the line, its dots and its uprights
  std::vector<Point> points;  ///< x ascending, not negative
  bool dots = false;          ///< a dot on each point, with a tooltip "step 80: 41.86 %"
  int digits = 4;             ///< of y in the tooltip
  std::string unit = {};      ///< behind y in the tooltip
  std::vector<std::string> tips = {};   ///< tooltips in place of those, one a point
  std::vector<Upright> uprights = {};
  bool line = true;           ///< false: dots and uprights alone
};

struct Plot {
  std::string title;   ///< what it shows, for those who do not see it
  std::string x_name;  ///< below the axis, which begins at 0
  int height = 200;    ///< pixels, without the text below
  int x_ticks = 4;     ///< at most
  double mark = -1;    ///< a vertical line at this x; negative: none
  std::vector<Series> series;
  /// In place of counts from 0, and of a range around all points, which these must hold.
  std::optional<Axis> x_axis = {}, y_axis = {};
};

/// An svg element of the plot's area; axis texts hang out of it, 54 pixels to the left and 40 below. Empty when no series has a
/// finite point.
std::string svg_plot(const Plot& plot);

struct Segment {
  std::string css, name;
  double value = 0;  ///< not negative
};
/// One bar of full width, divided in proportion; empty when the values add up to nothing.
std::string svg_bar(const std::string& title, const std::vector<Segment>& segments);

/// &, <, >, " and ' as entities; characters that XML does not allow, and bytes that are not UTF-8, as U+FFFD.
std::string xml_escaped(std::string_view text);

}  // namespace fmtrain
