#include <fmt/format.h>

#include <algorithm>

#include "runtime/metrics/report_text.h"
#include "runtime/report/html.h"
#include "runtime/report/report.h"

namespace fmtrain {
namespace {

/// Code points of a label that report_table has room for beside its four columns.
constexpr size_t kLabelWidth = 56;

std::string text(const Json& json, const std::string& missing = "?", size_t most = kLabelWidth) {
  if (json.is_string()) return clipped(json.get<std::string>(), most);
  return json.is_number() ? json.dump() : missing;
}

std::optional<double> metric(const Json& split, const char* name) { return number(field(split, {"metrics", name})); }

std::string fixed(const std::optional<double>& value, int digits) {
  return value ? fmt::format("{:.{}f}", *value, digits) : "n/a";
}

/// "44.71 (41.2-48.0)" in percent.
std::string with_interval(const Json& split, const char* name) {
  const auto value = metric(split, name);
  if (!value) return "n/a";
  const Json& range = field(split, {"intervals", name});
  const bool known = range.is_array() && range.size() == 2 && number(range[0]) && number(range[1]);
  return fmt::format("{:6.2f}", 100 * *value) +
         (known ? fmt::format(" ({:.1f}-{:.1f})", 100 * *number(range[0]), 100 * *number(range[1])) : "");
}

std::string change(const std::optional<double>& before, const std::optional<double>& after, int digits) {
  return before && after ? fmt::format("{:+.{}f}", *after - *before, digits) : "";
}

std::string row(const std::string& first, const std::string& name, const std::string& before, const std::string& after,
                const std::string& difference) {
  const std::string line = fmt::format("{:<11} {:<14} {:<24} {:<24} {:>8}", first, name, before, after, difference);
  return line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
}

std::string split_text(const char* split, const Json& before, const Json& after) {
  std::string out = row(split, "metric, %", "before (95 %)", "after (95 %)", "change");
  for (const char* name : {"f1", "precision", "recall", "accuracy", "macro_f1", "lenient_f1", "token_f1"}) {
    auto b = metric(before, name), a = metric(after, name);
    if (!a) continue;
    if (b) *b *= 100;
    *a *= 100;
    out += row("", name, with_interval(before, name), with_interval(after, name), change(b, a, 2));
  }
  const auto plain = [&](const char* title, const char* name, int digits, bool compared) {
    const auto b = number(field(before, {name})), a = number(field(after, {name}));
    if (a) out += row("", title, fixed(b, digits), fixed(a, digits), compared ? change(b, a, digits) : "");
  };
  plain("loss", "loss", 4, true);
  plain("samples/s", "samples_per_s", 1, false);
  return out + "\n";
}

/// Rows of scores.h whose `key` is there, with labels short enough.
Json rows_with(const Json& rows, const char* key) {
  Json kept = Json::array();
  for (const Json& entry : rows)
    if (entry.is_object() && entry.contains(key)) {
      kept.push_back(entry);
      kept.back()[key] = text(entry[key]);
    }
  return kept;
}

std::string scores_text(const std::string& title, const Json& labels, const Json& averages) {
  const Json rows = rows_with(labels, "label");
  return rows.empty() ? "" : title + "\n" + report_table(rows, rows_with(averages, "average")) + "\n";
}

std::string label_tables(const char* split, const Json& after) {
  const Json& words = field(after, {"token_report"});
  const std::string of = std::string(", ") + split;
  return scores_text((words.is_array() ? "entities, strict IOB2" : "classes") + of, field(after, {"per_label"}),
                     field(after, {"averages"})) +
         scores_text("words, O included (micro avg: without O)" + of, words, words);
}

/// "name      a, b, c"; "" without parts.
std::string line(const char* name, const std::vector<std::string>& parts) {
  std::string joined;
  for (const std::string& part : parts)
    if (!part.empty()) joined += (joined.empty() ? "" : ", ") + part;
  return joined.empty() ? "" : fmt::format("{:<11} {}\n", name, joined);
}

/// A number in a pattern; "" when it is missing.
std::string part(fmt::format_string<double> pattern, const std::optional<double>& value, double factor = 1) {
  return value ? fmt::format(pattern, factor * *value) : "";
}

std::string training_lines(const Json& training) {
  const auto value = [&](const char* name) { return number(field(training, {name})); };
  const auto phase = [&](const char* name) { return number(field(training, {"seconds_by_phase", name})); };
  const auto saves = [&](const char* name) { return number(field(training, {"checkpoints", name})); };
  const bool failed = saves("failed").value_or(0) > 0;
  return line("training", {part("{:.0f} steps", value("steps")), part("{:.1f} s", value("seconds")),
                           part("first step after {:.1f} s", value("first_step_s"))}) +
         line("speed", {part("{:.1f} samples/s", value("samples_per_s")), part("{:.0f} tokens/s", value("tokens_per_s")),
                        part("{:.1f} GFLOP/s", value("gflop_per_s"))}) +
         line("", {part("gemm_share {:.1f} %", value("gemm_share"), 100),
                   part("of {:.1f} GFLOP/s that the machine's products reach", value("product_gflop_per_s")),
                   part("mfu {:.1f} %", value("mfu"), 100)}) +
         line("time", {part("compute {:.1f} s", phase("compute")), part("communication {:.1f} s", phase("communication")),
                       part("data wait {:.1f} s", phase("data")), part("optimizer {:.1f} s", phase("optimizer")),
                       part("other {:.1f} s", phase("other"))}) +
         line("checkpoints", {part("{:.0f} saved", saves("saved")), failed ? part("{:.0f} failed", saves("failed")) : "",
                              part("written in {:.1f} s", saves("write_seconds")), part("training waited {:.2f} s", saves("stall_seconds"))});
}

std::string memory_line(const Json& memory) {
  double pss = 0, peak = -1;
  bool all = memory.is_array() && !memory.empty();
  for (const Json& rank : memory) {
    const double own = number(field(rank, {"pss"})).value_or(-1);
    all = all && own >= 0;
    pss += own;
    peak = std::max(peak, number(field(rank, {"peak_rss"})).value_or(-1));
  }
  return line("memory", {all ? "all ranks " + bytes_text(pss) + " (pss)" : "",
                         peak >= 0 ? "largest rank " + bytes_text(peak) + " at its peak (rss)" : ""});
}

}  // namespace

std::string report_text(const Json& report) {
  const auto of_run = [&](const char* name) { return text(field(report, {"run", name}), "?", 32); };
  std::string out = fmt::format("{}: {} ranks x {} threads on {}, {}, seed {}\n\n", of_run("name"), of_run("ranks"),
                                of_run("threads"), of_run("device"), of_run("precision"), of_run("seed"));
  const char* last = nullptr;
  for (const char* split : {"validation", "test"}) {
    const Json& after = field(report, {"after", split});
    if (!after.is_object()) continue;
    out += split_text(split, field(report, {"before", split}), after);
    last = split;
  }
  if (last) out += label_tables(last, field(report, {"after", last}));
  return out + training_lines(field(report, {"training"})) + memory_line(field(report, {"memory"})) +
         line("weights", {"sha256 " + text(field(report, {"weights_sha256"}), "unknown", 64)});
}

}  // namespace fmtrain
