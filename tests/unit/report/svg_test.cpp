#include "runtime/report/svg.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

using namespace fmtrain;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::string texts(const Axis& axis) {
  std::string out;
  for (const Tick& tick : axis.ticks) out += (out.empty() ? "" : " ") + tick.text;
  return out;
}

std::vector<double> values(const Axis& axis) {
  std::vector<double> out;
  for (const Tick& tick : axis.ticks) out.push_back(tick.value);
  return out;
}

std::vector<double> ys(const std::vector<Point>& points) {
  std::vector<double> out;
  for (const Point& point : points) out.push_back(point.y);
  return out;
}

TEST(Axis, ValuesAreWidenedToTicks) {
  struct Case {
    double low, high;
    int most;
    const char* expected;
  };
  for (const Case& c : std::vector<Case>{{0.1, 2.6, 6, "0 1 2 3"},
                                         {0, 0.3, 5, "0 0.1 0.2 0.3"},
                                         {0.61, 0.89, 8, "0.60 0.65 0.70 0.75 0.80 0.85 0.90"},
                                         {0, 2e-4, 5, "0 5e-5 1e-4 1.5e-4 2e-4"},
                                         {80, 91, 5, "80 85 90 95"},
                                         {-0.2, 0.2, 5, "-0.2 -0.1 0 0.1 0.2"},
                                         {0, 12000, 5, "0 5,000 10,000 15,000"},
                                         {0, 2.2e6, 4, "0 1M 2M 3M"},
                                         {0, 3e9, 4, "0 1e9 2e9 3e9"},
                                         {0, 0, 5, "0 0.5 1.0"},
                                         {0.7, 0.7, 4, "0 0.5 1.0 1.5"},
                                         {-3, -3, 5, "-5 -4 -3 -2 -1"}})
    EXPECT_EQ(texts(value_axis(c.low, c.high, c.most)), c.expected) << c.low << " to " << c.high;
}

TEST(Axis, ValuesAreTheNearestDoublesOfTheirTexts) {
  EXPECT_THAT(values(value_axis(0, 0.3, 5)), ElementsAre(0, 0.1, 0.2, 0.3));
  EXPECT_THAT(values(value_axis(0, 2e-4, 5)), ElementsAre(0, 5e-5, 1e-4, 1.5e-4, 2e-4));
}

TEST(Axis, CountsKeepTheirRangeAndHaveWholeTicks) {
  const Axis axis = count_axis(0, 321, 6);
  EXPECT_EQ(texts(axis), "0 100 200 300");
  EXPECT_EQ(axis.high, 321);
  EXPECT_EQ(texts(count_axis(0, 3, 9)), "0 1 2 3");
  EXPECT_EQ(texts(count_axis(0, 1, 6)), "0 1");
  EXPECT_EQ(texts(count_axis(0, 1e6, 6)), "0 0.2M 0.4M 0.6M 0.8M 1.0M");
}

TEST(Axis, AnyRangeHasFewTicksThatEncloseIt) {
  for (double low : {-1e30, -7.0, 0.0, 1e-12, 1.0, 999.9999999, 1e29})
    for (double span : {0.0, 1e-15, 1e-3, 1.0, 123.456, 1e10, 1e30}) {
      const Axis axis = value_axis(low, low + span, 5);
      const double slack = 1e-9 * (axis.high - axis.low);
      EXPECT_LE(axis.low, low + slack);
      EXPECT_GE(axis.high, low + span - slack);
      EXPECT_GE(axis.ticks.size(), 2u);
      EXPECT_LE(axis.ticks.size(), 5u);
    }
}

TEST(Thinned, KeepsTheLowestAndHighestOfEachRunInOrder) {
  const std::vector<Point> points = {{1, 5}, {2, 9}, {3, 1}, {4, 4}, {5, 2}, {6, 2}, {7, 7}, {8, 3}};
  EXPECT_THAT(ys(thinned(points, 4)), ElementsAre(9, 1, 2, 7));
  EXPECT_THAT(ys(thinned(points, 2)), ElementsAre(9, 1));
  EXPECT_THAT(ys(thinned(points, 8)), ElementsAre(5, 9, 1, 4, 2, 2, 7, 3));
  EXPECT_EQ(thinned(points, 4)[2].x, 5);
}

TEST(Thinned, NoPeakIsLostInAMillion) {
  std::vector<Point> points;
  for (int i = 0; i < 1000000; ++i)
    points.push_back({static_cast<double>(i), i == 777777 ? 100.0 : i == 3 ? -100.0 : 0.001 * (i % 7)});
  const std::vector<Point> kept = thinned(points, 400);
  EXPECT_EQ(kept.size(), 400u);
  const auto at = [&](double x) { return std::count_if(kept.begin(), kept.end(), [&](const Point& p) { return p.x == x; }); };
  EXPECT_EQ(at(777777), 1);
  EXPECT_EQ(at(3), 1);
  for (size_t i = 1; i < kept.size(); ++i) ASSERT_LT(kept[i - 1].x, kept[i].x);
}

TEST(Thinned, GapsStayGaps) {
  const std::vector<Point> points = {{1, kNan}, {2, kNan}, {3, kNan}, {4, 2}, {5, kNan}, {6, 1e31}};
  const std::vector<Point> kept = thinned(points, 4);
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_TRUE(std::isnan(kept[0].y));
  EXPECT_EQ(kept[1].y, 2);
}

TEST(Smoothed, MeansOfTheWindow) {
  const std::vector<Point> points = {{1, 1}, {2, 2}, {3, 6}, {4, kNan}, {5, 10}};
  EXPECT_THAT(ys(smoothed(points, 3, 9)), ElementsAre(1.5, 3, 4, 8, 10));
  EXPECT_THAT(ys(smoothed(points, 3, 2)), ElementsAre(1.5, 10));
  EXPECT_TRUE(smoothed({}, 3, 9).empty());
  EXPECT_TRUE(std::isnan(smoothed(std::vector<Point>{{1, kNan}}, 3, 9)[0].y));
}

TEST(SvgPlot, PlacesPointsExactly) {
  Plot plot{.title = "a < b", .x_name = "step", .height = 200, .x_ticks = 4, .mark = 50, .series = {}};
  plot.series.push_back({.css = "mean", .points = {{0, 0}, {50, 1}, {100, 2}}});
  plot.series.push_back({.css = "valid", .points = {{50, 0.5}}, .dots = true, .digits = 2, .unit = " %"});
  const std::string svg = svg_plot(plot);
  EXPECT_THAT(svg, HasSubstr("aria-label=\"a &lt; b\""));
  EXPECT_THAT(svg, HasSubstr("<polyline class=\"mean\" points=\"0.0,200.0 500.0,100.0 1000.0,0.0 \"/>"));
  EXPECT_THAT(svg, HasSubstr("cx=\"50.00%\" cy=\"150.0\" r=\"3.5\"><title>step 50: 0.50 %</title>"));
  EXPECT_THAT(svg, HasSubstr("<line class=\"mark\" x1=\"500.0\" x2=\"500.0\""));
}

TEST(SvgPlot, AGapEndsALineAndALonePointIsDrawn) {
  Plot plot{.title = "t", .x_name = "step", .height = 200, .x_ticks = 4, .mark = -1, .series = {}};
  plot.series.push_back({.css = "raw", .points = {{0, 0}, {1, kNan}, {2, 1}, {3, 2}, {4, kNan}}});
  const std::string svg = svg_plot(plot);
  EXPECT_THAT(svg, HasSubstr("points=\"0.0,200.0 0.0,200.0 \""));
  EXPECT_THAT(svg, HasSubstr("points=\"500.0,100.0 750.0,0.0 \""));
  EXPECT_THAT(svg, testing::Not(HasSubstr("nan")));
  EXPECT_THAT(svg, testing::Not(HasSubstr("class=\"mark\"")));
}

TEST(SvgPlot, NothingToShowIsNothing) {
  Plot plot{.title = "t", .x_name = "step", .height = 200, .x_ticks = 4, .mark = -1, .series = {}};
  EXPECT_EQ(svg_plot(plot), "");
  plot.series.push_back({.css = "raw", .points = {{1, kNan}, {2, std::numeric_limits<double>::infinity()}}});
  EXPECT_EQ(svg_plot(plot), "");
}

TEST(SvgBar, DividesInProportion) {
  const std::string svg = svg_bar("time", {{"compute", "Compute", 3}, {"data", "<Data>", 1}, {"other", "Other", 0}});
  EXPECT_THAT(svg,
              HasSubstr("<rect class=\"compute\" x=\"0.00%\" width=\"75.00%\" height=\"28\"><title>Compute: 75.0 %</title>"));
  EXPECT_THAT(svg, HasSubstr("<rect class=\"data\" x=\"75.00%\" width=\"25.00%\" height=\"28\"><title>&lt;Data&gt;: 25.0 %"));
  EXPECT_EQ(svg_bar("time", {{"compute", "Compute", 0}}), "");
}

TEST(XmlEscaped, MarkupControlsAndBrokenBytes) {
  struct Case {
    std::string in, out;
  };
  for (const Case& c : std::vector<Case>{{"a<b>&\"'", "a&lt;b&gt;&amp;&quot;&#39;"},
                                         {"Zoë 😀\t\n", "Zoë 😀\t\n"},
                                         {std::string("\0\x01\x1f", 3), "\uFFFD\uFFFD\uFFFD"},
                                         {"\xff<", "\uFFFD&lt;"},
                                         {"\xe2\x82", "\uFFFD"},
                                         {"\xEF\xBF\xBE", "\uFFFD"},
                                         {"\xED\xA0\x80x", "\uFFFD\uFFFD\uFFFDx"}})
    EXPECT_EQ(xml_escaped(c.in), c.out);
}

}  // namespace
