#include <fmt/format.h>

#include <algorithm>

#include "runtime/report/html.h"
#include "runtime/report/report_sections.h"
#include "runtime/report/svg.h"
#include "runtime/scaling/picture.h"
#include "runtime/scaling/scaling.h"

namespace fmtrain {
namespace {

/// It must not hold '<' or '&': the page is XML too.
constexpr const char* kPageStyle = R"(circle.mean { fill: rgb(var(--blue)); stroke: var(--page); stroke-width: 1.5; }
circle.raw { fill: var(--faint); stroke: var(--page); stroke-width: 1.5; }
polyline.limit { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 4; }
.upright { stroke: rgba(var(--blue), .35); stroke-width: 4; stroke-linecap: round; }
.valid.upright { stroke: rgba(var(--orange), .35); }
.key.limit::before { height: 0; border-top: 2px dashed var(--soft); background: none; border-radius: 0; }
.split { margin: 1rem 0 .25rem; font-size: .9rem; }
.different { border-left: 3px solid rgb(var(--orange)); padding-left: .75rem; }
)";
struct Kind {
  const char *mode, *css;
};
constexpr Kind kKinds[] = {{"strong", "mean"}, {"weak", "valid"}};

const Json& rows_of(const Json& scaling) {
  static const Json kNone = Json::array();
  const Json& rows = field(scaling, {"rows"});
  return rows.is_array() ? rows : kNone;
}

double most_ranks(const Json& scaling) {
  double most = 1;
  for (const Json& row : rows_of(scaling)) most = std::max(most, number(field(row, {"ranks"})).value_or(1));
  return most;
}

/// A figure of all rows of a mode that have it, times `factor`.
Series figure_series(const Json& scaling, const Kind& kind, const char* name, double factor, const char* unit) {
  Series series{.css = kind.css, .points = {}, .dots = true, .digits = 1, .unit = unit};
  for (const Json& row : rows_of(scaling)) {
    const auto value = [&](const char* which) { return number(field(row, {name, which})); };
    const auto ranks = number(field(row, {"ranks"}));
    if (field(row, {"mode"}) != kind.mode || !ranks || !value("median") || field(row, {"oversubscribed"}) == true) continue;
    series.points.push_back({*ranks, factor * *value("median")});
    series.uprights.push_back({*ranks, factor * value("min").value_or(0), factor * value("max").value_or(0)});
    series.tips.push_back(fmt::format("{}, {:.0f} ranks: {:.1f}{}", kind.mode, *ranks, series.points.back().y, unit));
  }
  return series;
}

std::string key(const Kind& kind) { return fmt::format("<span class=\"key {}\">{} scaling</span> ", kind.css, kind.mode); }

/// By number of ranks, without curves.
Plot plot_of(const char* title, const Json& scaling) {
  Plot plot{.title = title, .x_name = "ranks", .height = 220, .x_ticks = 6, .mark = -1, .series = {}};
  plot.x_axis = count_axis(0, most_ranks(scaling) + 1, 6);
  return plot;
}

Plot efficiency_plot(const Json& scaling) {
  Plot plot = plot_of("Efficiency by number of ranks, percent", scaling);
  double most = 100;
  for (const Kind& kind : kKinds) {
    plot.series.push_back(figure_series(scaling, kind, "efficiency", 100, " %"));
    for (const Upright& upright : plot.series.back().uprights) most = std::max(most, upright.high);
  }
  plot.series.push_back({.css = "limit", .points = {{0, 100}, {most_ranks(scaling) + 1, 100}}});
  plot.y_axis = value_axis(0, most, 6);
  return plot;
}

std::string figure(const std::string& heading, const Plot& plot, const std::string& caption) {
  const std::string svg = svg_plot(plot);
  return svg.empty()
             ? ""
             : fmt::format("<figure>\n<h3>{}</h3>\n<div class=\"area\">{}</div>\n<figcaption>{}</figcaption></figure>\n",
                           heading, svg, caption);
}

std::string rate_figure(const Json& scaling) {
  Plot plot = plot_of("Real tokens a second by number of ranks", scaling);
  std::string caption;
  for (const Kind& kind : kKinds) {
    plot.series.push_back(figure_series(scaling, kind, "tokens_per_s", 1, " tokens/s"));
    if (!plot.series.back().points.empty()) caption += key(kind);
  }
  for (const Series& series : plot.series)
    if (!series.points.empty()) {
      const Point base = series.points.front();
      plot.series.push_back({.css = "limit", .points = {{0, 0}, {most_ranks(scaling), base.y * most_ranks(scaling) / base.x}}});
      break;
    }
  return figure("Real tokens a second", plot, caption + "<span class=\"key limit\">in proportion to the ranks</span>");
}

std::string figures_html(const Json& scaling) {
  std::string caption;
  for (const Kind& kind : kKinds) caption += key(kind);
  const std::string all = rate_figure(scaling) + figure("Efficiency, %", efficiency_plot(scaling), caption);
  return all.empty() ? "" : "<div class=\"figures\">\n" + all + "</div>\n";
}

std::string row_name(const Json& row) {
  return plain_text(field(row, {"mode"})) + ", " + plain_text(field(row, {"ranks"})) + " ranks" +
         (field(row, {"oversubscribed"}) == true ? " (oversubscribed)" : "");
}

std::string splits_html(const Json& scaling) {
  std::string out;
  for (const Json& row : rows_of(scaling)) {
    std::vector<Segment> segments;
    for (const char* part : {"compute", "communication", "optimizer", "data", "other"})
      segments.push_back({part, part, std::max(0.0, number(field(row, {"seconds", part, "median"})).value_or(0))});
    const std::string bar = svg_bar("Time of an update, " + row_name(row), segments);
    if (!bar.empty())
      out += "<p class=\"split\">" + row_name(row) + ": " +
             fixed_text(1e3 * number(field(row, {"step_s", "median"})).value_or(0), 1) + " ms</p>\n" + bar;
  }
  const char* keys =
      "<p class=\"sub\"><span class=\"key compute\">compute</span><span class=\"key communication\">exposed "
      "communication</span>"
      "<span class=\"key optimizer\">optimizer</span><span class=\"key data\">waiting for data</span><span "
      "class=\"key\">other</span></p>\n";
  return section("Where an update's time goes", out.empty() ? "" : keys + out);
}

std::string spread_cell(const Json& figure, double factor, int digits) {
  const auto value = [&](const char* name) {
    const auto found = number(field(figure, {name}));
    return fixed_text(found ? std::optional(factor * *found) : found, digits);
  };
  if (!figure.is_object()) return "–";
  return value("median") + " <span class=\"sub\">(" + value("min") + "–" + value("max") + ")</span>";
}

std::string table_html(const Json& scaling) {
  HtmlTable table("Median (least–most) of the repetitions", {"", "Global batch", "Samples/s", "Real tokens/s", "Update, ms",
                                                         "Efficiency, %", "Of the products' rate, %", "RSS", "PSS, all ranks"});
  for (const Json& row : rows_of(scaling))
    table.row({row_name(row), plain_text(field(row, {"global"})), spread_cell(field(row, {"samples_per_s"}), 1, 1),
               spread_cell(field(row, {"tokens_per_s"}), 1, 0), spread_cell(field(row, {"step_s"}), 1e3, 1),
               spread_cell(field(row, {"efficiency"}), 100, 1), spread_cell(field(row, {"product_share"}), 100, 1),
               bytes_text(number(field(row, {"bytes", "rss"}))), bytes_text(number(field(row, {"bytes", "pss_sum"})))});
  return section("Figures", table.html());
}

std::string bits_html(const Json& scaling) {
  if (field(scaling, {"equal"}) == true)
    return "<p class=\"sub\">Runs of the same global batch have equal losses and weights, bit for bit.</p>\n";
  std::string out = "<p class=\"different\">Runs of the same global batch do not have equal bits:</p>\n";
  if (const Json& lines = field(scaling, {"differences"}); lines.is_array())
    for (size_t i = 0; i < std::min<size_t>(lines.size(), 20); ++i)
      out += "<p class=\"different\">" + plain_text(lines[i], 300) + "</p>\n";
  return out;
}

std::string definitions_html(const Json& scaling) {
  std::string rows;
  if (const Json& all = field(scaling, {"definitions"}); all.is_object())
    for (const auto& [name, text] : all.items())
      rows += "<dt>" + plain_text(Json(name)) + "</dt><dd>" + plain_text(text, 600) + "</dd>\n";
  return section("Definitions", rows.empty() ? "" : "<div class=\"facts\"><dl>\n" + rows + "</dl></div>\n");
}

}  // namespace

std::string scaling_page(const Json& scaling) {
  const std::string title = "Scaling of " + plain_text(field(scaling, {"plan", "config"}));
  return html_page(title, std::string(kReportStyle) + kPageStyle,
                   "<header>\n<h1>" + title + "</h1>\n" + bits_html(scaling) + "</header>\n" +
                       section("Speed", figures_html(scaling)) + splits_html(scaling) + table_html(scaling) +
                       definitions_html(scaling));
}

std::string scaling_picture(const Json& scaling) {
  const Plot plot = efficiency_plot(scaling);
  if (plot.series[0].points.empty() && plot.series[1].points.empty()) return "";
  return picture(plot, "Efficiency, %", {{"mean", "strong scaling"}, {"valid", "weak scaling"}});
}

}  // namespace fmtrain
