#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/report/html.h"
#include "runtime/report/report_sections.h"

namespace fmtrain {
namespace {

constexpr size_t kLabelRows = 200, kMatrixLabels = 30, kPairs = 10, kColumnCharacters = 24;

double support_of(const Json& row) { return number(field(row, {"support"})).value_or(0); }

/// The F1 of the row whose `key` is `name`, nothing without such a row.
std::optional<double> f1_of(const Json& rows, const char* key, const Json& name) {
  for (const Json& row : rows)
    if (field(row, {key}) == name) return number(field(row, {"f1"}));
  return std::nullopt;
}

/// The rows of labels that the page has room for, in their order: those with most support.
std::vector<Json> largest_rows(const Json& rows) {
  std::vector<Json> kept;
  for (const Json& row : rows)
    if (row.is_object() && row.contains("label")) kept.push_back(row);
  if (kept.size() <= kLabelRows) return kept;
  std::vector<double> supports;
  for (const Json& row : kept) supports.push_back(support_of(row));
  std::nth_element(supports.begin(), supports.begin() + kLabelRows, supports.end(), std::greater<>());
  const double least = supports[kLabelRows];
  std::erase_if(kept, [&](const Json& row) { return support_of(row) < least; });
  kept.resize(std::min(kept.size(), kLabelRows));
  return kept;
}

/// F1 with a bar of its length behind it.
std::string f1_cell(const Json& row) {
  const auto f1 = number(field(row, {"f1"}));
  return fmt::format("<span class=\"bar\" style=\"--w:{:.1f}%\">{}</span>", 100 * std::clamp(f1.value_or(0), 0.0, 1.0),
                     percent_text(f1));
}

void add_row(HtmlTable& table, const Json& row, const Json& before, const char* css) {
  const char* key = row.contains("label") ? "label" : "average";
  const Json& name = row[key];
  std::vector<std::string> cells = {plain_text(name), percent_text(number(field(row, {"precision"}))),
                                    percent_text(number(field(row, {"recall"}))), f1_cell(row)};
  if (before.is_array()) cells.push_back(percent_text(f1_of(before, key, name)));
  cells.push_back(whole_text(number(field(row, {"support"}))));
  table.row(cells, css);
}

/// `labels` and `averages` are rows as scores.h describes them.
std::string scores_table(const std::string& caption, const Json& labels, const Json& averages, const Json& before) {
  std::vector<std::string> heads = {"", "Precision", "Recall", "F1"};
  if (before.is_array()) heads.push_back("F1 before");
  heads.push_back("Support");
  HtmlTable table(caption, heads);
  const std::vector<Json> rows = largest_rows(labels);
  for (const Json& row : rows) add_row(table, row, before, "");
  bool first = true;
  for (const Json& row : averages)
    if (row.is_object() && row.contains("average"))
      add_row(table, row, before, std::exchange(first, false) ? "total first" : "total");
  const auto all = static_cast<size_t>(
      std::count_if(labels.begin(), labels.end(), [](const Json& r) { return r.is_object() && r.contains("label"); }));
  return table.html() + note(all > rows.size() ? fmt::format("The {} labels with most support, of {}.", rows.size(), all) : "");
}

/// Rows of labels and of averages in one list; null without an earlier evaluation.
Json all_rows(const Json& evaluation) {
  Json rows = field(evaluation, {"per_label"});
  if (!rows.is_array()) return {};
  for (const Json& row : field(evaluation, {"averages"})) rows.push_back(row);
  return rows;
}

/// Counts of a confusion matrix, [gold, predicted] over its labels.
struct Confusion {
  struct Cell {
    size_t gold = 0, predicted = 0;
    double count = 0;
    bool wrong() const { return gold != predicted; }
  };
  std::vector<std::string> names, columns;  ///< escaped
  std::vector<Cell> cells;
  std::vector<double> truth, errors;  ///< per label; an error counts for both its labels
  double wrong = 0;
};

Confusion confusion_of(const Json& json) {
  Confusion c;
  for (const Json& label : field(json, {"labels"})) {
    c.names.push_back(plain_text(label));
    c.columns.push_back(plain_text(label, kColumnCharacters));
  }
  c.truth.resize(c.names.size());
  c.errors.resize(c.names.size());
  for (const Json& cell : field(json, {"cells"})) {
    const auto value = [&](size_t i) { return cell.is_array() && cell.size() == 3 ? number(cell[i]).value_or(-1) : -1; };
    const auto last = static_cast<double>(c.names.size()) - 1;
    if (value(0) < 0 || value(1) < 0 || value(2) <= 0 || value(0) > last || value(1) > last) continue;
    c.cells.push_back({static_cast<size_t>(value(0)), static_cast<size_t>(value(1)), value(2)});
    const auto& added = c.cells.back();
    c.truth[added.gold] += added.count;
    if (!added.wrong()) continue;
    c.errors[added.gold] += added.count;
    c.errors[added.predicted] += added.count;
    c.wrong += added.count;
  }
  return c;
}

std::string pairs_table(const Confusion& c) {
  std::vector<Confusion::Cell> wrong;
  std::copy_if(c.cells.begin(), c.cells.end(), std::back_inserter(wrong), [](const auto& cell) { return cell.wrong(); });
  std::stable_sort(wrong.begin(), wrong.end(), [](const auto& a, const auto& b) { return a.count > b.count; });
  if (wrong.size() > kPairs) wrong.resize(kPairs);
  HtmlTable table("Most frequent errors", {"Truth → prediction", "Count", "% of truth"});
  for (const auto& cell : wrong)
    table.row({c.names[cell.gold] + " → " + c.names[cell.predicted], whole_text(cell.count),
               percent_text(cell.count / c.truth[cell.gold])});
  return table.html();
}

/// The labels that the matrix shows, in their order: those with most errors, the first of equals.
std::vector<size_t> matrix_labels(const Confusion& c) {
  std::vector<size_t> chosen(c.names.size());
  std::iota(chosen.begin(), chosen.end(), size_t{0});
  if (chosen.size() <= kMatrixLabels) return chosen;
  std::stable_sort(chosen.begin(), chosen.end(), [&](size_t a, size_t b) { return c.errors[a] > c.errors[b]; });
  chosen.resize(kMatrixLabels);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

/// Shade: the share of the row; of errors its root, so that rare ones can be seen.
std::string matrix_cell(double count, double truth, bool wrong) {
  if (count == 0) return "<td></td>";
  const double share = count / truth;
  return fmt::format("<td class=\"{}\" style=\"--a:{:.2f}\">{}</td>", wrong ? "miss" : "hit",
                     0.6 * (wrong ? std::sqrt(share) : share), whole_text(count));
}

std::string matrix(const Confusion& c, const std::vector<size_t>& shown, double& left_out) {
  const size_t n = shown.size();
  std::vector<size_t> place(c.names.size(), n);
  for (size_t i = 0; i < n; ++i) place[shown[i]] = i;
  std::vector<double> counts(n * n);
  left_out = 0;
  for (const auto& cell : c.cells) {
    const size_t row = place[cell.gold], column = place[cell.predicted];
    if (row < n && column < n) counts[row * n + column] += cell.count;
    else if (cell.wrong()) left_out += cell.count;
  }
  std::string out = "<table class=\"matrix\">\n<thead><tr><td></td>";
  for (const size_t label : shown) out += "<th scope=\"col\"><span>" + c.columns[label] + "</span></th>";
  out += "</tr></thead>\n<tbody>\n";
  for (size_t i = 0; i < n; ++i) {
    out += "<tr><th scope=\"row\">" + c.names[shown[i]] + "</th>";
    for (size_t j = 0; j < n; ++j) out += matrix_cell(counts[i * n + j], c.truth[shown[i]], i != j);
    out += "</tr>\n";
  }
  return scroll_box(
      "Rows: truth. Columns: prediction. Blue: right, orange: wrong; the stronger, the larger the share of the row.",
      out + "</tbody></table>");
}

}  // namespace

std::string labels_html(const Json& before, const Json& after) {
  const bool tagging = is_tagging(after);
  const auto rows_of = [&](const char* name) -> const Json& { return field(after, {name}); };
  std::string out = section(tagging ? "Entity types" : "Classes",
                            scores_table(tagging ? "Whole entities, strict IOB2; percent" : "Texts; percent",
                                         rows_of("per_label"), rows_of("averages"), all_rows(before)));
  const Json& words = rows_of("token_report");
  return out + section("Words", scores_table("Tags of single words, O included; the micro average leaves O out; percent", words,
                                             words, field(before, {"token_report"})));
}

std::string confusion_html(const Json& evaluation) {
  const Confusion c = confusion_of(field(evaluation, {"confusion"}));
  if (c.cells.empty()) return "";
  const std::vector<size_t> shown = matrix_labels(c);
  double left_out = 0;
  const std::string cells = matrix(c, shown, left_out);
  const std::string left = shown.size() == c.names.size()
                               ? ""
                               : fmt::format("The {} labels with most errors, of {}; {} of {} errors involve another label.",
                                             shown.size(), c.names.size(), whole_text(left_out), whole_text(c.wrong));
  return section("Confusion", pairs_table(c) + cells + note(left));
}

}  // namespace fmtrain
