#include "runtime/continual/page.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/continual/page_plots.h"
#include "runtime/report/html.h"
#include "runtime/report/report_sections.h"

namespace fmtrain {
namespace {

constexpr size_t kReasons = 5, kReasonLength = 160, kMatrix = 24;

/// It must not hold '<' or '&': the page is XML too.
constexpr const char* kPageStyle = R"(.timeline { display: block; overflow: visible; margin-bottom: 1.5rem; }
.timeline rect { stroke: var(--page); stroke-width: 1; }
.timeline .even { fill: rgba(var(--blue), .28); }
.timeline .odd { fill: rgba(var(--teal), .28); }
.timeline .rolled { fill: rgba(var(--orange), .45); }
.timeline .current { stroke: var(--ink); }
.timeline text.mid { fill: var(--ink); }
svg .begin { text-anchor: start; }
polyline.limit { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 4; }
circle.mean { fill: rgb(var(--blue)); stroke: var(--page); stroke-width: 1.5; }
circle.alarm { fill: rgb(var(--orange)); stroke: var(--ink); stroke-width: 1.5; }
.upright { stroke: rgba(var(--blue), .35); stroke-width: 4; stroke-linecap: round; }
.key.limit::before { height: 0; border-top: 2px dashed var(--soft); background: none; border-radius: 0; }
.key.alarm::before { width: .6rem; height: .6rem; border-radius: 50%; vertical-align: 0; background: rgb(var(--orange)); }
.key.rolled::before { background: rgba(var(--orange), .45); }
.tiles { margin: 1.25rem 0; }
.cycles { max-width: none; }
.cycles .explained th, .cycles .explained td { border-bottom: 0; padding-bottom: 0; }
.cycles .why td { white-space: normal; text-align: left; color: var(--soft); padding-top: 0; }
.promote td.verdict { color: rgb(var(--teal)); font-weight: 600; }
.reject td.verdict { color: rgb(var(--orange)); font-weight: 600; }
.braked { border-left: 3px solid rgb(var(--orange)); padding-left: .75rem; }
)";

std::string tile(const std::string& name, const std::string& value) {
  return value.empty() || value == "–" ? "" : "<div><dt>" + name + "</dt><dd>" + value + "</dd></div>\n";
}

std::string tiles(const std::string& content) { return content.empty() ? "" : "<dl class=\"tiles\">\n" + content + "</dl>\n"; }

std::string points_text(const Json& fraction) {
  const auto value = number(fraction);
  return value ? change_text(100 * *value, 2) : "";
}

const Json& last_of(const Json& list) {
  static const Json kNone;
  return list.is_array() && !list.empty() ? list.back() : kNone;
}

std::string header_html(const Json& facts) {
  const std::string registry = plain_text(field(facts, {"registry"})), now = time_text(number(field(facts, {"now"})));
  std::string sub = registry;
  if (now != "–") sub += (sub.empty() ? "" : " · ") + now + " UTC";
  const Json &check = last_of(field(facts, {"drift"})), &cycle = last_of(field(facts, {"cycles"}));
  const std::string number_of_cycle = plain_text(field(cycle, {"number"}));
  std::string outcome = plain_text(field(cycle, {"verdict"}));
  if (outcome.empty()) outcome = plain_text(field(cycle, {"stage"}));
  return "<header>\n<h1>Continual fine-tuning</h1>\n" + (sub.empty() ? "" : "<p class=\"sub\">" + sub + "</p>\n") +
         tiles(tile("Champion", plain_text(field(facts, {"champion"}))) +
               tile("Serves since", time_text(number(field(last_of(field(facts, {"serving"})), {"from"})))) +
               tile("Last drift check", plain_text(field(check, {"verdict"}))) +
               tile(number_of_cycle.empty() ? "Last cycle" : "Cycle " + number_of_cycle, outcome)) +
         "</header>\n";
}

/// The one thing a person who looks at the page may have to do.
std::string next_html(const Json& facts) {
  const std::string braked = plain_text(field(facts, {"braked"}), kReasonLength);
  const bool known = field(facts, {"braked"}).is_string() || field(facts, {"braked"}).is_null();
  const auto due = number(field(facts, {"next_due"}));
  if (!facts.is_object() || (!facts.contains("braked") && !facts.contains("next_due")) || !known) return "";
  std::string text = braked.empty() ? "<p>No brake holds: the next trigger starts a cycle.</p>\n"
                                    : "<p class=\"braked\">No cycle may start now: " + braked + ".</p>\n";
  text += due ? "<p class=\"sub\">Due on schedule: " + time_text(due) + " UTC.</p>\n"
              : "<p class=\"sub\">Nothing is due on a schedule.</p>\n";
  return section("What comes next", text);
}

std::string reasons_text(const Json& reasons) {
  std::string text;
  if (!reasons.is_array()) return text;
  for (size_t i = 0; i < std::min(reasons.size(), kReasons); ++i)
    text += (i ? "; " : "") + plain_text(reasons[i], kReasonLength);
  return text + (reasons.size() > kReasons ? fmt::format("; and {} more", reasons.size() - kReasons) : "");
}

std::string difference_text(const Json& scores) {
  const auto a = number(field(scores, {"champion"})), b = number(field(scores, {"challenger"}));
  if (!a || !b) return "";
  const std::string low = points_text(field(scores, {"lcb95"})), high = points_text(field(scores, {"ucb95"}));
  return change_text(100 * (*b - *a), 2) + (low.empty() || high.empty() ? "" : " (" + low + " to " + high + ")");
}

/// The reasons stand below, for a column of them would leave no room for the figures.
std::string cycle_rows(const Json& cycle) {
  const auto text = [&](const char* name) { return plain_text(field(cycle, {name})); };
  const auto whole = [&](const char* name) { return whole_text(number(field(cycle, {name}))); };
  const std::string verdict = text("verdict"), reasons = reasons_text(field(cycle, {"reasons"}));
  std::string css = reasons.empty() ? "" : "explained";
  for (const char* known : {"promote", "reject"})
    if (verdict == known) css += std::string(" ") + known;
  std::string row = fmt::format("<tr class=\"{}\"><th scope=\"row\">{}</th>", css, text("number"));
  for (const std::string& cell :
       {time_text(number(field(cycle, {"started"}))), text("trigger"), whole("fresh"), whole("replayed"),
        difference_text(field(cycle, {"rolling"})), difference_text(field(cycle, {"core"}))})
    row += "<td>" + cell + "</td>";
  row +=
      "<td class=\"verdict\">" + (verdict.empty() ? text("stage") : verdict) + "</td><td>" + text("version") + "</td></tr>\n";
  return row + (reasons.empty() ? "" : "<tr class=\"why\"><td></td><td colspan=\"8\">" + reasons + "</td></tr>\n");
}

std::string cycles_html(const Json& facts) {
  auto cycles = newest(field(facts, {"cycles"}), kPageCycles);
  if (cycles.empty()) return "";
  std::string head, rows;
  for (const char* name :
       {"Cycle", "Started, UTC", "Trigger", "Fresh", "Replayed", "On the window", "On core", "Verdict", "Version"})
    head += std::string("<th scope=\"col\">") + name + "</th>";
  for (auto cycle = cycles.rbegin(); cycle != cycles.rend(); ++cycle) rows += cycle_rows(**cycle);
  const std::string table =
      "<table class=\"cycles\">\n<thead><tr>" + head + "</tr></thead>\n<tbody>\n" + rows + "</tbody></table>";
  return section(
      "Cycles",
      scroll_box("Newest first. Fresh and replayed: texts trained on. Differences: challenger minus champion in points, with "
                 "their one-sided 95 % bounds",
                 table) +
          note(left_out(field(facts, {"cycles"}), kPageCycles, "cycles")));
}

std::string score_cell(const Json& score, bool own) {
  const auto value = number(score);
  if (!value) return "<td></td>";
  return fmt::format("<td class=\"hit\" style=\"--a:{:.2f}\">{}</td>", 0.05 + 0.5 * std::clamp(*value, 0.0, 1.0),
                     own ? "<strong>" + percent_text(value) + "</strong>" : percent_text(value));
}

/// Row i of R from column `first` on.
std::string matrix_row(const Json& row, size_t i, size_t first, size_t columns) {
  std::string out = fmt::format("<tr><th scope=\"row\">{}</th>", i + 1);
  for (size_t j = first; j < columns; ++j) out += score_cell(row.is_array() && j < row.size() ? row[j] : Json(), i == j);
  return out + "</tr>\n";
}

std::string forgetting_row(const Json& forgetting, size_t first, size_t columns) {
  if (!forgetting.is_array() || forgetting.empty()) return "";
  std::string out = "<tr><th scope=\"row\">forgotten</th>";
  for (size_t j = first; j < columns; ++j) out += "<td>" + (j < forgetting.size() ? points_text(forgetting[j]) : "") + "</td>";
  return out + "</tr>\n";
}

std::string matrix_table(const Json& facts) {
  const Json &matrix = field(facts, {"matrix"}), &tests = field(facts, {"tests"});
  if (!matrix.is_array() || matrix.empty()) return "";
  size_t columns = tests.is_array() ? tests.size() : 0;
  for (const Json& row : matrix) columns = std::max(columns, row.is_array() ? row.size() : 0);
  const size_t first_row = matrix.size() - std::min(matrix.size(), kMatrix), first = columns - std::min(columns, kMatrix);
  std::string head, rows;
  for (size_t j = first; j < columns; ++j) {
    const std::string name = tests.is_array() && j < tests.size() ? plain_text(tests[j], 24) : "";
    head += "<th scope=\"col\"><span>" + (name.empty() ? fmt::format("{}", j + 1) : name) + "</span></th>";
  }
  for (size_t i = first_row; i < matrix.size(); ++i) rows += matrix_row(matrix[i], i, first, columns);
  rows += forgetting_row(field(facts, {"measures", "forgetting"}), first, columns);
  const bool cut = first_row > 0 || first > 0;
  return scroll_box(
             "Score after a cycle (row) on a test (column), %; bold: the test that came with the cycle",
             "<table class=\"matrix\">\n<thead><tr><td></td>" + head + "</tr></thead>\n<tbody>\n" + rows + "</tbody></table>") +
         note(cut ? fmt::format("The newest {} rows and columns are shown.", kMatrix) : "");
}

std::string measures_tiles(const Json& measures) {
  std::string out;
  for (const auto& [name, title] :
       {std::pair("backward_transfer", "Backward transfer"), std::pair("forward_transfer", "Forward transfer"),
        std::pair("mean_forgetting", "Mean forgetting"), std::pair("largest_forgetting", "Largest forgetting")})
    if (const std::string points = points_text(field(measures, {name})); !points.empty())
      out += tile(title, points + " points");
  return tiles(out);
}

std::string memory_html(const Json& facts) {
  return section("What is kept and what is forgotten", measures_tiles(field(facts, {"measures"})) + matrix_table(facts));
}

}  // namespace

std::string continual_page(const Json& facts) {
  const std::string registry = plain_text(field(facts, {"registry"}));
  const std::string title = (registry.empty() ? "" : registry + " · ") + "continual fine-tuning";
  return html_page(title, std::string(kReportStyle) + kPageStyle,
                   header_html(facts) + next_html(facts) + serving_html(facts) + drift_html(facts) + scores_html(facts) +
                       cycles_html(facts) + memory_html(facts));
}

}  // namespace fmtrain
