#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/report/html.h"
#include "runtime/report/report_sections.h"
#include "runtime/report/svg.h"

namespace fmtrain {
namespace {

constexpr size_t kCurvePoints = 400, kEvaluations = 200;
/// Curves of fewer steps are not smoothed.
constexpr size_t kSmoothFrom = 80;

double number_or_gap(const Json& json) { return number(json).value_or(std::numeric_limits<double>::quiet_NaN()); }

std::vector<Point> curve_of(const std::vector<Json>& steps, const char* name) {
  std::vector<Point> points;
  for (const Json& step : steps)
    if (const auto x = number(field(step, {"step"})); x && *x >= 0) points.push_back({*x, number_or_gap(field(step, {name}))});
  return points;
}

/// `path` leads from an evaluation to the number. Step 0 is the evaluation before training.
std::vector<Point> validation_of(const Json& report, const std::vector<Json>& evaluations,
                                 std::initializer_list<const char*> path, double factor) {
  std::vector<Point> points;
  if (const auto before = number(field(field(report, {"before", "validation"}), path))) points.push_back({0, factor * *before});
  for (const Json& line : evaluations) {
    const auto x = number(field(line, {"step"}));
    if (!x || *x < 0 || field(line, {"split"}) != "validation") continue;
    if (*x == 0) points.clear();
    points.push_back({*x, factor * number_or_gap(field(line, path))});
  }
  return points;
}

size_t window_for(size_t steps) { return steps / 40 / 2 * 2 + 1; }

/// Every step in grey and their running mean over it; a short curve by itself.
void add_curve(Plot& plot, const std::vector<Point>& points, std::string& caption) {
  if (points.size() < kSmoothFrom) {
    plot.series.push_back({.css = "mean", .points = points});
    return;
  }
  const size_t window = window_for(points.size());
  plot.series.push_back({.css = "raw", .points = thinned(points, kCurvePoints)});
  plot.series.push_back({.css = "mean", .points = smoothed(points, window, kCurvePoints)});
  caption += fmt::format("<span class=\"key raw\">each step</span> <span class=\"key mean\">mean of {} steps</span> ", window);
}

std::string figure(const std::string& heading, const Plot& plot, const std::string& caption, const char* css = "") {
  const std::string svg = svg_plot(plot);
  if (svg.empty()) return "";
  return fmt::format("<figure class=\"{}\">\n<h3>{}</h3>\n<div class=\"area\">{}</div>\n<figcaption>{}</figcaption></figure>\n",
                     css, heading, svg, caption);
}

std::string lost_note(const std::vector<Point>& loss) {
  const auto gaps = std::count_if(loss.begin(), loss.end(), [](const Point& p) { return !std::isfinite(p.y); });
  if (gaps == 0) return "";
  return fmt::format("{} of {} steps had a loss that is not finite.", whole_text(static_cast<double>(gaps)),
                     whole_text(static_cast<double>(loss.size())));
}

std::string loss_figure(const Json& report, const std::vector<Json>& steps, const std::vector<Json>& evaluations) {
  Plot plot{.title = "Loss by step, training and validation",
            .x_name = "step",
            .height = 260,
            .x_ticks = 6,
            .mark = -1,
            .series = {}};
  std::string caption;
  const std::vector<Point> loss = curve_of(steps, "loss");
  add_curve(plot, loss, caption);
  const std::vector<Point> validation = validation_of(report, evaluations, {"loss"}, 1);
  if (!validation.empty()) {
    plot.series.push_back({.css = "valid", .points = thinned(validation, kEvaluations), .dots = true, .digits = 4, .unit = ""});
    caption += "<span class=\"key valid\">validation</span> ";
  }
  return figure("Loss", plot, caption + lost_note(loss), "wide");
}

std::string metric_figure(const Json& report, const std::vector<Json>& evaluations) {
  const Json& last = field(report, {"after", "validation"});
  const std::string metric = headline_of(last.is_null() ? field(report, {"before", "validation"}) : last);
  const std::vector<Point> points = validation_of(report, evaluations, {"metrics", metric.c_str()}, 100);
  if (metric.empty() || points.empty()) return "";
  const char* known = metric_title(metric, is_tagging(last));
  const std::string name = known ? known : xml_escaped(metric);
  Plot plot{.title = name + " on validation by step, percent",
            .x_name = "step",
            .height = 200,
            .x_ticks = 4,
            .mark = -1,
            .series = {}};
  plot.series.push_back({.css = "valid", .points = thinned(points, kEvaluations), .dots = true, .digits = 2, .unit = " %"});
  const auto best = number(field(report, {"training", "best_step"}));
  std::string caption;
  for (const Point& point : points)
    if (best && *best > 0 && point.x == *best) {
      plot.mark = *best;
      caption = fmt::format("<span class=\"key mark\">best: step {}, {} %</span>", whole_text(best), fixed_text(point.y, 2));
    }
  return figure(name + " on validation, %", plot, caption);
}

std::string step_figure(const char* heading, const char* title, const char* name, const std::vector<Json>& steps) {
  Plot plot{.title = title, .x_name = "step", .height = 200, .x_ticks = 4, .mark = -1, .series = {}};
  std::string caption;
  add_curve(plot, curve_of(steps, name), caption);
  return figure(heading, plot, caption);
}

/// A schedule is smooth by itself.
std::string rate_figure(const std::vector<Json>& steps) {
  Plot plot{.title = "Learning rate by step", .x_name = "step", .height = 200, .x_ticks = 4, .mark = -1, .series = {}};
  plot.series.push_back({.css = "mean", .points = thinned(curve_of(steps, "lr"), kCurvePoints)});
  return figure("Learning rate", plot, "");
}

}  // namespace

std::string curves_html(const Json& report, const std::vector<Json>& steps, const std::vector<Json>& evaluations) {
  const std::string figures = loss_figure(report, steps, evaluations) + metric_figure(report, evaluations) +
                              rate_figure(steps) +
                              step_figure("Gradient norm", "Gradient norm by step, before clipping", "grad_norm", steps);
  if (figures.empty()) return "";
  const std::string thin =
      steps.size() > kCurvePoints
          ? fmt::format("Of {} steps each curve shows {} points; of every stretch the lowest and the highest.",
                        whole_text(static_cast<double>(steps.size())), kCurvePoints)
          : "";
  return section("Training", "<div class=\"figures\">\n" + figures + "</div>\n" + note(thin));
}

}  // namespace fmtrain
