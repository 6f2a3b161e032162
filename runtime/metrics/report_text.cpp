#include "runtime/metrics/report_text.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace fmtrain {
namespace {

[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(text, sizeof text, pattern, arguments);
  va_end(arguments);
  return text;
}

/// Code points, as Python counts the width of a name.
size_t width_of(const std::string& name) {
  return static_cast<size_t>(std::count_if(name.begin(), name.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string name_of(const Json& row) { return row.at(row.contains("label") ? "label" : "average").get<std::string>(); }

std::string cell(const Json& value) { return value.is_null() ? std::string(10, ' ') : format(" %9.2f", value.get<double>()); }

std::string table_row(const Json& row, size_t width) {
  const std::string name = name_of(row);
  return std::string(width - std::min(width, width_of(name)), ' ') + name + " " + cell(row.at("precision")) +
         cell(row.at("recall")) + cell(row.at("f1")) +
         format(" %9lld\n", static_cast<long long>(row.at("support").get<int64_t>()));
}

double percent(const Json& fraction) { return 100 * fraction.get<double>(); }

/// "F1 41.86 % (95 %: 38.90 to 44.71)"
std::string with_interval(const char* title, const Json& evaluation, const char* name) {
  const Json& intervals = evaluation.at("intervals");
  std::string text = format("%s %.2f %%", title, percent(evaluation.at("metrics").at(name)));
  if (intervals.contains(name))
    text += format(" (95 %%: %.2f to %.2f)", percent(intervals[name][0]), percent(intervals[name][1]));
  return text;
}

/// The rows of the averages that scikit-learn's table has; the micro average without O stands below it.
std::string tagging_text(const Json& evaluation) {
  const Json& metrics = evaluation.at("metrics");
  Json labels = Json::array(), averages = Json::array();
  for (const Json& row : evaluation.at("token_report")) {
    if (row.contains("label")) labels.push_back(row);
    else if (row.at("average") != "micro avg") averages.push_back(row);
  }
  return with_interval("Entities, strict IOB2: F1", evaluation, "f1") +
         format(", precision %.2f %%, recall %.2f %%\n", percent(metrics.at("precision")), percent(metrics.at("recall"))) +
         format("Entities, lenient (conlleval): F1 %.2f %%, precision %.2f %%, recall %.2f %%\n",
                percent(metrics.at("lenient_f1")), percent(metrics.at("lenient_precision")),
                percent(metrics.at("lenient_recall"))) +
         with_interval("Words: accuracy", evaluation, "accuracy") +
         format("; without O: F1 %.2f %%, precision %.2f %%, recall %.2f %%\n", percent(metrics.at("token_f1")),
                percent(metrics.at("token_precision")), percent(metrics.at("token_recall"))) +
         "\nEntities, strict IOB2\n" + report_table(evaluation.at("per_label"), evaluation.at("averages")) + "\nWords\n" +
         report_table(labels, averages);
}

std::string classification_text(const Json& evaluation) {
  return with_interval("Accuracy", evaluation, "accuracy") + "\n" + with_interval("Macro F1", evaluation, "macro_f1") + "\n\n" +
         report_table(evaluation.at("per_label"), evaluation.at("averages"));
}

std::string undefined_text(const Json& evaluation) {
  const auto n = evaluation.at("metrics").at("undefined").get<int64_t>();
  if (n == 0) return "";
  return format("\n%lld of these precisions and recalls have denominator 0 and count as 0.\n", static_cast<long long>(n));
}

}  // namespace

std::string report_table(const Json& labels, const Json& averages) {
  size_t width = std::string("weighted avg").size();
  for (const Json& row : labels) width = std::max(width, width_of(name_of(row)));
  std::string text = std::string(width, ' ') + format("  %9s %9s %9s %9s\n\n", "precision", "recall", "f1-score", "support");
  for (const Json& row : labels) text += table_row(row, width);
  text += "\n";
  for (const Json& row : averages) text += table_row(row, width);
  return text;
}

std::string evaluation_text(const Json& evaluation) {
  const bool tagging = evaluation.contains("token_report");
  return (tagging ? tagging_text(evaluation) : classification_text(evaluation)) + undefined_text(evaluation);
}

std::string conlleval_text(const Json& evaluation, EntityMode mode) {
  const bool strict = mode == EntityMode::kStrict;
  const Json& metrics = evaluation.at("metrics");
  const Json& rows = strict ? evaluation.at("per_label") : evaluation.at("lenient").at("per_label");
  const std::string prefix = strict ? "" : "lenient_";
  const auto sum = [&](const char* column) {
    int64_t total = 0;
    for (const Json& row : rows) total += row.at(column).get<int64_t>();
    return static_cast<long long>(total);
  };
  std::string text =
      format("processed %lld tokens with %lld phrases; found: %lld phrases; correct: %lld.\n",
             static_cast<long long>(metrics.at("words").get<int64_t>()), sum("support"), sum("predicted"), sum("correct"));
  text += format("accuracy: %6.2f%%; precision: %6.2f%%; recall: %6.2f%%; FB1: %6.2f\n", percent(metrics.at("accuracy")),
                 percent(metrics.at(prefix + "precision")), percent(metrics.at(prefix + "recall")),
                 percent(metrics.at(prefix + "f1")));
  for (const Json& row : rows)
    text += format("%17s: precision: %6.2f%%; recall: %6.2f%%; FB1: %6.2f  %lld\n", name_of(row).c_str(),
                   percent(row.at("precision")), percent(row.at("recall")), percent(row.at("f1")),
                   static_cast<long long>(row.at("predicted").get<int64_t>()));
  return text;
}

}  // namespace fmtrain
