#include <fmt/format.h>

#include <algorithm>

#include "runtime/report/html.h"
#include "runtime/report/report_sections.h"
#include "runtime/report/svg.h"

namespace fmtrain {
namespace {

constexpr size_t kMemoryRows = 64, kFacts = 40;

struct Phase {
  const char *name, *title;
};
constexpr Phase kPhases[] = {{"compute", "Compute"},
                             {"communication", "Communication"},
                             {"optimizer", "Optimizer"},
                             {"data", "Waiting for data"},
                             {"other", "Other"}};

std::string time_html(const Json& training) {
  std::vector<Segment> segments;
  double total = 0;
  for (const Phase& phase : kPhases)
    if (const auto seconds = number(field(training, {"seconds_by_phase", phase.name}))) {
      segments.push_back({phase.name, phase.title, std::max(0.0, *seconds)});
      total += segments.back().value;
    }
  HtmlTable table("Time of training steps", {"", "Time", "Share, %"});
  for (const Segment& s : segments)
    table.row(
        {"<span class=\"key " + s.css + "\">" + s.name + "</span>", duration_text(s.value), percent_text(s.value / total)});
  const std::string bar = svg_bar("Time of training steps by phase", segments);
  return bar.empty() ? "" : bar + table.html();
}

/// A row of name and value; none when the number is missing.
void add(HtmlTable& table, const char* name, const std::optional<double>& value, const std::string& text) {
  if (value) table.row({name, text});
}

std::string speed_table(const Json& training) {
  const auto value = [&](const char* name) { return number(field(training, {name})); };
  HtmlTable table("Speed of training, all ranks", {"", "Value"});
  add(table, "Samples per second", value("samples_per_s"), fixed_text(value("samples_per_s"), 1));
  add(table, "Tokens per second", value("tokens_per_s"), whole_text(value("tokens_per_s")));
  add(table, "GFLOP/s of the model", value("gflop_per_s"), fixed_text(value("gflop_per_s"), 1));
  add(table, "GFLOP/s of products alone", value("product_gflop_per_s"), fixed_text(value("product_gflop_per_s"), 1));
  add(table, "Share of that rate (gemm share)", value("gemm_share"), percent_text(value("gemm_share")) + " %");
  add(table, "Share of peak (MFU)", value("mfu"), percent_text(value("mfu")) + " %");
  add(table, "Waiting for data", value("data_wait_share"), percent_text(value("data_wait_share")) + " %");
  const auto saves = [&](const char* name) { return number(field(training, {"checkpoints", name})); };
  add(table, "Checkpoints saved", saves("saved"), whole_text(saves("saved")));
  add(table, "Checkpoints not saved", saves("failed"), whole_text(saves("failed")));
  add(table, "Writing checkpoints", saves("write_seconds"), duration_text(saves("write_seconds")));
  add(table, "Training waited for them", saves("stall_seconds"), duration_text(saves("stall_seconds")));
  add(table, "Start to first step", value("first_step_s"), duration_text(value("first_step_s")));
  add(table, "Training", value("seconds"), duration_text(value("seconds")));
  return table.html();
}

std::string memory_table(const Json& memory) {
  if (!memory.is_array()) return "";
  HtmlTable table("Memory", {"Rank", "Host", "Resident", "Shared divided (PSS)", "Peak"});
  for (size_t i = 0; i < std::min(memory.size(), kMemoryRows); ++i) {
    const auto bytes = [&](const char* name) { return bytes_text(number(field(memory[i], {name}))); };
    table.row({plain_text(field(memory[i], {"rank"})), plain_text(field(memory[i], {"host"})), bytes("rss"), bytes("pss"),
               bytes("peak_rss")});
  }
  return table.html() + note(memory.size() > kMemoryRows ? fmt::format("{} of {} ranks.", kMemoryRows, memory.size()) : "");
}

std::string data_table(const Json& data) {
  HtmlTable table("Data", {"", "Samples", "Texts", "Tokens", "Labels", "Texts cut", "Words lost"});
  for (const char* split : {"train", "validation", "test"}) {
    const Json& part = field(data, {split});
    if (!part.is_object()) continue;
    std::vector<std::string> cells = {split};
    for (const char* name : {"samples", "texts", "tokens", "labels", "truncated_texts", "lost_words"})
      cells.push_back(whole_text(number(field(part, {name}))));
    table.row(cells);
  }
  return table.html();
}

/// Each member of `json` that is a string, number or truth value.
std::string list(const std::string& heading, const Json& json) {
  std::string rows;
  size_t count = 0;
  if (json.is_object())
    for (const auto& [name, value] : json.items()) {
      const std::string text = plain_text(value, 80);
      if (text.empty() || ++count > kFacts) continue;
      std::string title = plain_text(Json(name));
      std::replace(title.begin(), title.end(), '_', ' ');
      rows += "<dt>" + title + "</dt><dd>" + text + "</dd>\n";
    }
  return rows.empty() ? "" : "<div>\n<h3>" + heading + "</h3>\n<dl>\n" + rows + "</dl></div>\n";
}

}  // namespace

std::string resources_html(const Json& report) {
  const Json& training = field(report, {"training"});
  const std::string tables = speed_table(training) + memory_table(field(report, {"memory"}));
  return section("Time and memory",
                 time_html(training) + (tables.empty() ? "" : "<div class=\"pair\">\n" + tables + "</div>\n"));
}

std::string facts_html(const Json& report) {
  Json model = field(report, {"lineage"}).is_object() ? report["lineage"] : Json::object();
  if (report.is_object() && report.contains("weights_sha256")) model["weights_sha256"] = report["weights_sha256"];
  const std::string lists =
      list("Run", field(report, {"run"})) + list("Versions", field(report, {"versions"})) + list("Lineage", model);
  return section("Facts",
                 data_table(field(report, {"data"})) + (lists.empty() ? "" : "<div class=\"facts\">\n" + lists + "</div>\n"));
}

}  // namespace fmtrain
