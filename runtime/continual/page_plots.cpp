#include "runtime/continual/page_plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/report/html.h"

namespace fmtrain {
namespace {

constexpr double kHour = 3600, kDay = 24 * kHour, kWeek = 7 * kDay, kLastTime = 253402300799;
constexpr double kLeastP = 1e-12;
constexpr int kTimes = 4;  ///< at most, on an axis: more dates would overlap on a telephone

std::optional<double> time_of(const Json& json) {
  const auto time = number(json);
  return time && *time >= 0 && *time <= kLastTime ? time : std::nullopt;
}

/// Of 0 to 1.
std::optional<double> share_value(const Json& json) {
  const auto share = number(json);
  return share && *share >= 0 && *share <= 1 ? share : std::nullopt;
}

double or_gap(std::optional<double> value) { return value.value_or(std::numeric_limits<double>::quiet_NaN()); }

std::string figure(const std::string& heading, const Plot& plot, const std::string& caption) {
  const std::string svg = svg_plot(plot);
  if (svg.empty()) return "";
  return fmt::format(
      "<figure class=\"wide\">\n<h3>{}</h3>\n<div class=\"area\">{}</div>\n<figcaption>{}</figcaption></figure>\n", heading,
      svg, caption);
}

std::string figures(const std::string& content) {
  return content.empty() ? "" : "<div class=\"figures\">\n" + content + "</div>\n";
}

/// Over all times of `points`.
Axis axis_over(const std::vector<Point>& points) {
  const auto [first, last] = std::minmax_element(points.begin(), points.end(), [](auto& a, auto& b) { return a.x < b.x; });
  return time_axis(first->x, last->x, kTimes);
}

// ---- who serves -------------------------------------------------------------------------------------

struct Service {
  std::string version;
  double from = 0, until = 0;
  bool current = false, rollback = false;
};

std::vector<Service> services(const Json& facts) {
  std::vector<Service> all;
  for (const Json* change : newest(field(facts, {"serving"}), kPageChanges)) {
    const auto from = time_of(field(*change, {"from"}));
    if (!from) continue;
    if (!all.empty()) all.back().until = *from;
    all.push_back({plain_text(field(*change, {"version"})), *from, *from, false, field(*change, {"action"}) == "rollback"});
  }
  if (all.empty()) return all;
  all.back().current = true;
  all.back().until = std::max(all.back().from, time_of(field(facts, {"now"})).value_or(all.back().from));
  return all;
}

/// Clocks may have been set back: a service that ends before it begins has no length.
double length(const Service& service) { return std::max(0.0, service.until - service.from); }

std::string service_rect(const Service& service, double left, double width, bool odd) {
  std::string out =
      fmt::format("<rect class=\"{}{}\" x=\"{:.2f}%\" width=\"{:.2f}%\" height=\"28\"><title>{}: {} – {}</title></rect>\n",
                  service.rollback ? "rolled"
                  : odd            ? "odd"
                                   : "even",
                  service.current ? " current" : "", left, std::max(width, 0.15), service.version, time_text(service.from),
                  service.current ? "now" : time_text(service.until));
  // As wide as some ten characters on a narrow page.
  if (width > 12)
    out += fmt::format("<text class=\"mid\" x=\"{:.2f}%\" y=\"18\">{}</text>\n", left + width / 2, service.version);
  return out;
}

std::string timeline(const std::vector<Service>& all) {
  const Axis axis = time_axis(all.front().from, std::max(all.back().until, all.front().from), kTimes);
  const auto left = [&](double time) { return std::clamp(100 * (time - axis.low) / (axis.high - axis.low), 0.0, 100.0); };
  std::string out =
      "<svg class=\"timeline\" role=\"img\" aria-label=\"Champions over time\" width=\"100%\" height=\"52\">"
      "<title>Champions over time</title>\n";
  for (size_t i = 0; i < all.size(); ++i)
    out += service_rect(all[i], left(all[i].from), left(all[i].until) - left(all[i].from), i % 2);
  for (const Tick& tick : axis.ticks) {
    const double at = left(tick.value);
    out += fmt::format("<text class=\"x{}\" x=\"{:.2f}%\" y=\"46\">{}</text>\n",
                       at > 94  ? " end"
                       : at < 6 ? " begin"
                                : "",
                       at, tick.text);
  }
  return out + "</svg>\n";
}

std::string services_table(const std::vector<Service>& all) {
  constexpr size_t kRows = 12;
  HtmlTable table(all.size() > kRows ? fmt::format("The newest {} of them", kRows) : "Newest first",
              {"Version", "From", "Until", "For", "By"});
  for (size_t i = all.size(); i > all.size() - std::min(all.size(), kRows); --i) {
    const Service& s = all[i - 1];
    table.row({s.version, time_text(s.from), s.current ? "now" : time_text(s.until),
               fmt::format("{:.1f} days", length(s) / kDay), s.rollback ? "rollback" : "promotion"},
              s.current ? "main" : "");
  }
  return table.html();
}

// ---- drift ------------------------------------------------------------------------------------------

struct Check {
  double time = 0;
  std::optional<double> p, alpha, severity;
  std::string verdict, champion;
};

std::vector<Check> checks(const Json& facts) {
  std::vector<Check> all;
  for (const Json* line : newest(field(facts, {"drift"}), kPageChecks))
    if (const auto time = time_of(field(*line, {"time"})))
      all.push_back({*time, share_value(field(*line, {"p"})), share_value(field(*line, {"alpha"})),
                     number(field(*line, {"severity"})), plain_text(field(*line, {"verdict"})),
                     plain_text(field(*line, {"champion"}))});
  return all;
}

double log_of(double p) { return std::log10(std::max(p, kLeastP)); }

std::string tip(const Check& check) {
  std::string text = time_text(check.time) + " UTC: p " + (check.p ? fmt::format("{:.2g}", *check.p) : "–");
  if (check.severity) text += ", severity " + fixed_text(check.severity, 2);
  for (const auto& [before, part] : {std::pair(", ", check.verdict), std::pair(", against ", check.champion)})
    if (!part.empty()) text += before + part;
  return text;
}

/// Dots of the checks with one verdict (or, for "", of those with another than drift) upon the line of all.
Series dots_of(const std::vector<Check>& all, bool alarms, double (*y)(const Check&)) {
  Series series{.css = alarms ? "alarm" : "mean", .points = {}, .dots = true};
  series.line = false;
  for (const Check& check : all)
    if ((check.verdict == "drift") == alarms) {
      series.points.push_back({check.time, y(check)});
      series.tips.push_back(tip(check));
    }
  return series;
}

double p_place(const Check& check) { return check.p ? log_of(*check.p) : or_gap({}); }
double severity_place(const Check& check) { return or_gap(check.severity); }

Plot drift_plot(const std::vector<Check>& all, const char* title, double (*y)(const Check&)) {
  Plot plot{.title = title, .x_name = "UTC", .height = 200, .mark = -1, .series = {}};
  Series line{.css = "mean", .points = {}};
  for (const Check& check : all) line.points.push_back({check.time, y(check)});
  plot.x_axis = axis_over(line.points);
  plot.series = {line, dots_of(all, false, y), dots_of(all, true, y)};
  return plot;
}

/// A horizontal dashed line; what it stands for may change from check to check.
void add_limit(Plot& plot, const std::vector<Check>& all, double (*limit)(const Check&)) {
  Series series{.css = "limit", .points = {}};
  for (const Check& check : all) series.points.push_back({check.time, limit(check)});
  if (all.size() == 1) series.points = {{plot.x_axis->low, series.points[0].y}, {plot.x_axis->high, series.points[0].y}};
  plot.series.insert(plot.series.begin(), series);
}

double least_p(const std::vector<Check>& all) {
  double least = 0.1;
  for (const Check& check : all)
    for (const auto& p : {check.p, check.alpha})
      if (p) least = std::min(least, std::max(*p, kLeastP));
  return least;
}

bool has(const std::vector<Check>& all, std::optional<double> Check::*value) {
  return std::any_of(all.begin(), all.end(), [&](const Check& check) { return (check.*value).has_value(); });
}

constexpr const char* kAlarmKey = "<span class=\"key alarm\">alarm: the second window in a row</span> ";

std::string p_figure(const std::vector<Check>& all) {
  if (!has(all, &Check::p)) return "";
  Plot plot = drift_plot(all, "p of the MMD test by time, on a logarithmic scale", p_place);
  plot.y_axis = p_axis(least_p(all));
  std::string caption = "<span class=\"key mean\">p value</span> ";
  if (has(all, &Check::alpha)) {
    add_limit(plot, all, [](const Check& check) { return check.alpha ? log_of(*check.alpha) : or_gap({}); });
    caption += "<span class=\"key limit\">alpha</span> ";
  }
  return figure("p value of the MMD test", plot, caption + kAlarmKey);
}

std::string severity_figure(const std::vector<Check>& all) {
  if (!has(all, &Check::severity)) return "";
  Plot plot = drift_plot(all, "Severity of drift by time", severity_place);
  add_limit(plot, all, [](const Check&) { return 1.0; });
  return figure("Severity", plot,
                std::string("<span class=\"key mean\">distance over the usual one</span> "
                            "<span class=\"key limit\">1: as 5 % of windows without drift</span> ") +
                    kAlarmKey);
}

// ---- scores -----------------------------------------------------------------------------------------

struct Comparison {
  double time = 0;
  std::string name;  ///< "cycle 7"
  double champion = 0, challenger = 0;
  std::optional<double> low, high;  ///< of the challenger
  std::optional<double> texts;
};

std::vector<Comparison> comparisons(const Json& facts, const char* set) {
  std::vector<Comparison> all;
  for (const Json* cycle : newest(field(facts, {"cycles"}), kPageCycles)) {
    const Json& scores = field(*cycle, {set});
    const auto time = time_of(field(*cycle, {"started"}));
    const auto champion = share_value(field(scores, {"champion"})), challenger = share_value(field(scores, {"challenger"}));
    if (!time || !champion || !challenger) continue;
    Comparison one{*time,
                   "cycle " + plain_text(field(*cycle, {"number"})),
                   *champion,
                   *challenger,
                   {},
                   {},
                   number(field(scores, {"texts"}))};
    const auto low = number(field(scores, {"lcb95"})), high = number(field(scores, {"ucb95"}));
    if (low && high && *low >= -1 && *high <= 1 && *low <= *high) one.low = *champion + *low, one.high = *champion + *high;
    all.push_back(one);
  }
  return all;
}

std::string scores_figure(const Json& facts, const char* set, const char* heading) {
  const auto all = comparisons(facts, set);
  if (all.empty()) return "";
  Series champion{.css = "valid", .points = {}, .dots = true}, challenger{.css = "mean", .points = {}, .dots = true};
  for (const Comparison& one : all) {
    champion.points.push_back({one.time, 100 * one.champion});
    champion.tips.push_back(fmt::format("{}: champion {} %", one.name, percent_text(one.champion)));
    challenger.points.push_back({one.time, 100 * one.challenger});
    std::string text = fmt::format("{}: challenger {} %", one.name, percent_text(one.challenger));
    if (one.low) text += fmt::format(", {} to {}", percent_text(one.low), percent_text(one.high));
    if (one.texts) text += fmt::format(", {} texts", whole_text(one.texts));
    challenger.tips.push_back(text);
    if (one.low) challenger.uprights.push_back({one.time, 100 * *one.low, 100 * *one.high});
  }
  Plot plot{.title = std::string(heading) + " by time, percent",
            .x_name = "UTC",
            .height = 200,
            .mark = -1,
            .series = {}};
  plot.x_axis = axis_over(champion.points);
  plot.series = {champion, challenger};
  return figure(std::string(heading) + ", %", plot,
                "<span class=\"key valid\">champion</span> <span class=\"key mean\">challenger, with the champion's score plus "
                "the bounds "
                "of their difference (95 % to each side)</span>");
}

}  // namespace

std::vector<const Json*> newest(const Json& list, size_t most) {
  std::vector<const Json*> rows;
  if (!list.is_array()) return rows;
  for (size_t i = list.size() - std::min(list.size(), most); i < list.size(); ++i)
    if (list[i].is_object()) rows.push_back(&list[i]);
  return rows;
}

std::string left_out(const Json& list, size_t most, const std::string& what) {
  if (!list.is_array() || list.size() <= most) return "";
  return fmt::format("Of {} {} the newest {} are shown.", whole_text(static_cast<double>(list.size())), what, most);
}

Axis time_axis(double low, double high, int most) {
  if (high <= low) low = std::max(0.0, low - kDay / 2), high += kDay / 2;
  double step = kHour;
  for (const double longer :
       {3 * kHour, 6 * kHour, 12 * kHour, kDay, 2 * kDay, kWeek, 2 * kWeek, 4 * kWeek, 13 * kWeek, 26 * kWeek, 52 * kWeek})
    if (std::floor(high / step) - std::ceil(low / step) + 1 > most) step = longer;
  while (std::floor(high / step) - std::ceil(low / step) + 1 > most) step *= 2;
  Axis axis{low, high, {}};
  for (double k = std::ceil(low / step); k <= std::floor(high / step); ++k) {
    const std::string text = time_text(k * step);  // 2026-11-29 06:00
    axis.ticks.push_back({k * step, step < kDay ? text.substr(8, 2) + ", " + text.substr(11) : text.substr(0, 10)});
  }
  return axis;
}

Axis p_axis(double low) {
  const int last = std::min(-1, static_cast<int>(std::floor(std::log10(low) + 1e-9)));
  Axis axis{static_cast<double>(last), 0, {}};
  for (int k = last; k <= 0; ++k)
    axis.ticks.push_back(
        {static_cast<double>(k), k < -4 ? fmt::format("1e{}", k) : fmt::format("{:.{}f}", std::pow(10.0, k), -k)});
  return axis;
}

std::string serving_html(const Json& facts) {
  const auto all = services(facts);
  if (all.empty()) return "";
  return section("Who serves", timeline(all) + services_table(all) +
                                   note("<span class=\"key rolled\">by rollback</span> " +
                                        left_out(field(facts, {"serving"}), kPageChanges, "changes of the champion")));
}

std::string drift_html(const Json& facts) {
  const auto all = checks(facts);
  const std::string plots = all.empty() ? "" : p_figure(all) + severity_figure(all);
  return section("Drift", plots.empty() ? "" : figures(plots) + note(left_out(field(facts, {"drift"}), kPageChecks, "checks")));
}

std::string scores_html(const Json& facts) {
  return section("Champion and challenger", figures(scores_figure(facts, "rolling", "Score on the newest labelled window") +
                                                    scores_figure(facts, "core", "Score on the frozen test set")));
}

}  // namespace fmtrain
