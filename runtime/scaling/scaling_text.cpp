#include <fmt/format.h>

#include "runtime/report/html.h"
#include "runtime/scaling/plain.h"
#include "runtime/scaling/scaling.h"

namespace fmtrain {
namespace {

std::optional<double> median(const Json& row, std::initializer_list<const char*> path) {
  return number(field(field(row, path), {"median"}));
}

/// "41.9 (41.2-42.6)" of a figure times `factor`; "-" without.
std::string spread_text(const Json& figure, double factor, int digits) {
  const auto value = [&](const char* name) { return number(field(figure, {name})); };
  if (!value("median")) return "-";
  const auto text = [&](const char* name) { return fmt::format("{:.{}f}", factor * value(name).value_or(0), digits); };
  return text("median") + " (" + text("min") + "-" + text("max") + ")";
}

std::string part_text(const Json& row, const char* part) {
  const auto seconds = median(row, {"seconds", part}), step = median(row, {"step_s"});
  if (!seconds || !step || *step <= 0) return "-";
  return fmt::format("{:.1f} ({:.1f} %)", 1e3 * *seconds, 100 * *seconds / *step);
}

std::string count(const Json& row, const char* name) { return fmt::format("{:.0f}", number(field(row, {name})).value_or(0)); }

bool is_oversubscribed(const Json& row) { return field(row, {"oversubscribed"}) == true; }

std::string efficiency_text(const Json& row) {
  if (is_oversubscribed(row)) return "oversubscribed: none";
  return field(row, {"efficiency"}).is_object() ? spread_text(field(row, {"efficiency"}), 100, 1) + " %" : "-";
}

std::string megabytes(const Json& row, const char* name) {
  return fmt::format("{:.0f}", number(field(row, {"bytes", name})).value_or(0) / 1e6);
}

std::string speed_row(const Json& row) {
  const std::string ranks =
      count(row, "ranks") + " x " + count(row, "threads") + (is_oversubscribed(row) ? " (oversubscribed)" : "");
  const auto serial = number(field(row, {"serial_share"}));
  return fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n", plain(field(row, {"mode"})), ranks,
                     count(row, "global"), spread_text(field(row, {"samples_per_s"}), 1, 1),
                     spread_text(field(row, {"tokens_per_s"}), 1, 0), spread_text(field(row, {"step_s"}), 1e3, 1),
                     efficiency_text(row), serial ? fmt::format("{:.1f} %", 100 * *serial) : "-",
                     spread_text(field(row, {"product_share"}), 100, 1));
}

std::string split_row(const Json& row) {
  return fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} | {:.2f} | {} / {} / {} |\n", plain(field(row, {"mode"})),
                     count(row, "ranks") + (is_oversubscribed(row) ? " (oversubscribed)" : ""), part_text(row, "compute"),
                     part_text(row, "communication"), part_text(row, "waiting"), part_text(row, "data"),
                     part_text(row, "optimizer"), part_text(row, "other"), median(row, {"slowest"}).value_or(1),
                     megabytes(row, "rss"), megabytes(row, "pss"), megabytes(row, "pss_sum"));
}

std::string equality_text(const Json& scaling) {
  if (field(scaling, {"equal"}) == true)
    return "Runs of the same global batch have equal losses in every update and equal weights, bit for bit.\n\n";
  std::string text =
      "**Runs of the same global batch do not have equal bits. Their speeds are not those of the same computation:**\n\n";
  for (const Json& line : field(scaling, {"differences"})) text += "- " + plain(line, 400) + "\n";
  return text + "\n";
}

std::string scaling_head(const Json& scaling) {
  const Json& plan = field(scaling, {"plan"});
  const auto value = [&](const char* name) { return plain(field(plan, {name}), 100); };
  std::string text = "# Scaling of " + value("config") + "\n\n";
  for (const Json& line : field(plan, {"overrides"})) text += "`--set " + plain(line, 100) + "` ";
  return text + fmt::format(
                    "Launcher `{}`, {} cores; {} updates a run, the first {} left out; {} repetitions, interleaved: median "
                    "(least-most).\n\n",
                    value("launcher"), plain(field(scaling, {"machine", "cores"})), value("steps"), value("warmup"),
                    value("repetitions"));
}

std::string definitions_text(const Json& scaling) {
  std::string text = "\n";
  for (const auto& [name, meaning] : field(scaling, {"definitions"}).items())
    text += "- **" + name + "**: " + plain(meaning, 600) + "\n";
  return text;
}

}  // namespace

std::string scaling_text(const Json& scaling) {
  std::string speed =
      "| mode | ranks x threads | global batch | samples/s | real tokens/s | update, ms | efficiency | serial share | share of "
      "products' rate, % "
      "|\n|---|---|---|---|---|---|---|---|---|\n";
  std::string split =
      "\nMilliseconds of an update on rank 0 and their share of it (medians):\n\n| mode | ranks | compute | exposed "
      "communication | of that "
      "waiting | data | optimizer | other | slowest rank / mean | RSS / PSS / PSS of all ranks, MB "
      "|\n|---|---|---|---|---|---|---|---|---|---|\n";
  for (const Json& row : field(scaling, {"rows"})) {
    speed += speed_row(row);
    split += split_row(row);
  }
  return scaling_head(scaling) + equality_text(scaling) + speed + split + definitions_text(scaling);
}

}  // namespace fmtrain
