#include "runtime/report/report_html.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/report/html.h"
#include "runtime/report/report_sections.h"
#include "runtime/report/svg.h"

namespace fmtrain {
namespace {

struct MetricTitle {
  const char *name, *tagging, *classification;
};
/// In the order of the tables.
constexpr MetricTitle kMetrics[] = {{"accuracy", nullptr, "Accuracy"},
                                    {"macro_f1", nullptr, "Macro F1"},
                                    {"f1", "Entity F1", nullptr},  // of classes the same as macro_f1
                                    {"precision", "Entity precision", "Macro precision"},
                                    {"recall", "Entity recall", "Macro recall"},
                                    {"accuracy", "Word accuracy", nullptr},
                                    {"macro_f1", "Macro F1 of types", nullptr},
                                    {"weighted_f1", "Weighted F1 of types", "Weighted F1"},
                                    {"lenient_f1", "Entity F1, lenient", nullptr},
                                    {"token_f1", "Word F1 without O", nullptr},
                                    {"balanced_accuracy", nullptr, "Balanced accuracy"},
                                    {"mcc", nullptr, "Matthews correlation"},
                                    {"kappa", nullptr, "Cohen's kappa"}};

const char* title_of(const MetricTitle& metric, bool tagging) { return tagging ? metric.tagging : metric.classification; }

std::optional<double> change_of(const std::optional<double>& before, const std::optional<double>& after) {
  return before && after ? std::optional(*after - *before) : std::nullopt;
}

struct Range {
  double low = 0, high = 0;
};

std::optional<Range> interval_of(const Json& evaluation, const std::string& metric) {
  const Json& pair = field(evaluation, {"intervals", metric.c_str()});
  if (!pair.is_array() || pair.size() != 2 || !number(pair[0]) || !number(pair[1])) return std::nullopt;
  return Range{*number(pair[0]), *number(pair[1])};
}

std::string interval_text(const Json& evaluation, const std::string& metric) {
  const auto range = interval_of(evaluation, metric);
  return range ? percent_text(range->low) + "–" + percent_text(range->high) : "";
}

/// Percent of certainty the intervals have: "95".
std::string level_text(const Json& evaluation) {
  return fmt::format("{:.4g}", 100 * number(field(evaluation, {"intervals", "level"})).value_or(0.95));
}

std::string split_table(const std::string& split, const Json& before, const Json& after) {
  const bool tagging = is_tagging(after);
  HtmlTable table((split == "test" ? "Test set" : "Validation set") + std::string("; percent"),
              {"", "Before", "After", "Change", level_text(after) + " % interval"});
  for (const MetricTitle& metric : kMetrics) {
    const auto b = number(field(before, {"metrics", metric.name})), a = number(field(after, {"metrics", metric.name}));
    const char* title = title_of(metric, tagging);
    if (!title || (!a && !b)) continue;
    auto change = change_of(b, a);
    if (change) *change *= 100;
    table.row({title, percent_text(b), percent_text(a), change_text(change, 2), interval_text(after, metric.name)},
              metric.name == headline_of(after) ? "main" : "");
  }
  const auto row = [&](const char* title, const char* name, int digits) {
    const auto b = number(field(before, {name})), a = number(field(after, {name}));
    if (a || b) table.row({title, fixed_text(b, digits), fixed_text(a, digits), change_text(change_of(b, a), digits), ""});
  };
  row("Loss", "loss", 4);
  row("Samples per second", "samples_per_s", 1);
  return table.html();
}

std::string results_html(const Json& report) {
  std::string tables;
  for (const char* split : {"test", "validation"})
    tables += split_table(split, field(report, {"before", split}), field(report, {"after", split}));
  return section("Before and after", tables.empty() ? "" : "<div class=\"pair\">\n" + tables + "</div>\n");
}

/// A scale from 0 to 100 % with a ring for before, a dot for after, and the interval of after.
std::string scale_svg(const std::string& title, std::optional<double> before, double after, const std::optional<Range>& range) {
  std::string marks;
  if (range)
    marks += fmt::format("<rect class=\"interval\" x=\"{:.2f}%\" width=\"{:.2f}%\" y=\"1\" height=\"22\" rx=\"4\"/>",
                         100 * range->low, 100 * std::max(0.0, range->high - range->low));
  if (before) marks += fmt::format("<circle class=\"before\" cx=\"{:.2f}%\" cy=\"12\" r=\"5\"/>", 100 * *before);
  marks += fmt::format("<circle class=\"after\" cx=\"{:.2f}%\" cy=\"12\" r=\"6\"/>", 100 * after);
  return fmt::format(
      "<svg class=\"scale\" role=\"img\" aria-label=\"{0}\" width=\"100%\" height=\"42\"><title>{0}</title>"
      "<line class=\"track\" x1=\"0\" x2=\"100%\" y1=\"12\" y2=\"12\"/>{1}<text x=\"0\" y=\"38\">0</text>"
      "<text class=\"mid\" x=\"50%\" y=\"38\">50</text><text class=\"end\" x=\"100%\" y=\"38\">100 %</text></svg>\n",
      title, marks);
}

std::string hero_html(const std::string& split, const Json& before, const Json& after) {
  const std::string metric = headline_of(after);
  const auto a = number(field(after, {"metrics", metric.c_str()})), b = number(field(before, {"metrics", metric.c_str()}));
  if (!a) return "";
  const char* known = metric_title(metric, is_tagging(after));
  const std::string name = known ? known : xml_escaped(metric);
  std::string numbers = b ? "<span class=\"from\">" + percent_text(b) + "</span> <span class=\"arrow\">→</span> " : "";
  numbers += "<strong>" + percent_text(a) + "</strong> <span class=\"unit\">%</span>";
  std::string sub = b ? change_text(100 * (*a - *b), 2) + " points" : "";
  if (const std::string range = interval_text(after, metric); !range.empty())
    sub += std::string(sub.empty() ? "" : " · ") + "<span>" + level_text(after) + " % interval " + range + "</span>";
  const bool fraction = *a >= 0 && *a <= 1;
  return "<div class=\"hero\">\n<p class=\"what\">" + name + " on " + split + "</p>\n<p class=\"big\">" + numbers +
         "</p>\n<p class=\"sub\">" + sub + "</p>\n" +
         (fraction ? scale_svg(name + " on " + split + ", before and after", b, *a, interval_of(after, metric)) : "") +
         "</div>\n";
}

/// For runs that were never evaluated: how far the training loss came.
std::string loss_hero(const std::vector<Json>& steps) {
  const auto first = steps.empty() ? std::nullopt : number(field(steps.front(), {"loss"}));
  const auto last = steps.empty() ? std::nullopt : number(field(steps.back(), {"loss"}));
  if (!first || !last) return "";
  return "<div class=\"hero\">\n<p class=\"what\">Training loss, first and last step</p>\n<p class=\"big\"><span "
         "class=\"from\">" +
         fixed_text(first, 4) + "</span> <span class=\"arrow\">→</span> <strong>" + fixed_text(last, 4) +
         "</strong></p>\n</div>\n";
}

double peak_memory(const Json& report) {
  double peak = -1;
  for (const Json& rank : field(report, {"memory"})) peak = std::max(peak, number(field(rank, {"peak_rss"})).value_or(-1));
  return peak;
}

std::string tile(const std::string& name, const std::string& value) {
  return "<div><dt>" + name + "</dt><dd>" + value + "</dd></div>\n";
}

std::string tiles_html(const Json& report) {
  std::string out;
  const Json& training = field(report, {"training"});
  const auto value = [&](const char* name) { return number(field(training, {name})); };
  if (value("steps")) out += tile("Steps", whole_text(value("steps")));
  if (value("seconds")) out += tile("Training time", duration_text(value("seconds")));
  if (value("samples_per_s")) out += tile("Samples per second", fixed_text(value("samples_per_s"), 1));
  if (const double peak = peak_memory(report); peak > 0) out += tile("Peak memory of a rank", bytes_text(peak));
  return out.empty() ? "" : "<dl class=\"tiles\">\n" + out + "</dl>\n";
}

std::string subtitle(const Json& run) {
  const auto count = [&](const char* name, const char* one) {
    const auto n = number(field(run, {name}));
    return n ? whole_text(n) + " " + one + (*n == 1 ? "" : "s") : "";
  };
  std::string text, threads = count("threads", "thread");
  if (!threads.empty() && number(field(run, {"ranks"})).value_or(1) > 1) threads += " each";
  const std::string seed = plain_text(field(run, {"seed"}));
  for (const std::string& part : {count("ranks", "rank"), threads, plain_text(field(run, {"device"})),
                                  plain_text(field(run, {"precision"})), seed.empty() ? "" : "seed " + seed})
    if (!part.empty()) text += (text.empty() ? "" : " · ") + part;
  return text.empty() ? "" : "<p class=\"sub\">" + text + "</p>\n";
}

std::string header_html(const std::string& name, const Json& report, const std::vector<Json>& steps) {
  std::string hero;
  for (const char* split : {"test", "validation"})
    hero += hero_html(split, field(report, {"before", split}), field(report, {"after", split}));
  if (hero.empty()) hero = loss_hero(steps);
  return "<header>\n<h1>" + name + "</h1>\n" + subtitle(field(report, {"run"})) +
         (hero.empty() ? "" : "<div class=\"heroes\">\n" + hero + "</div>\n") + tiles_html(report) + "</header>\n";
}

}  // namespace

const char* metric_title(const std::string& metric, bool tagging) {
  for (const MetricTitle& row : kMetrics)
    if (const char* title = title_of(row, tagging); title && metric == row.name) return title;
  return nullptr;
}

std::string headline_of(const Json& evaluation) {
  const Json& name = field(evaluation, {"headline"});
  return name.is_string() ? name.get<std::string>() : "";
}

bool is_tagging(const Json& evaluation) { return field(evaluation, {"token_report"}).is_array(); }

std::string report_html(const Json& report, const std::vector<Json>& steps, const std::vector<Json>& evaluations) {
  std::string name = plain_text(field(report, {"run", "name"}));
  if (name.empty()) name = "Run";
  const char* split = field(report, {"after", "test"}).is_object() ? "test" : "validation";
  const Json &before = field(report, {"before", split}), &after = field(report, {"after", split});
  return html_page(name + " · report", kReportStyle,
                   header_html(name, report, steps) + results_html(report) + curves_html(report, steps, evaluations) +
                       labels_html(before, after) + confusion_html(after) + resources_html(report) + facts_html(report));
}

}  // namespace fmtrain
