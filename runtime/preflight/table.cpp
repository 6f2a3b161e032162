#include "runtime/preflight/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace fmtrain {
namespace {

const std::map<Status, std::string> kNames{
    {Status::kOk, "ok"}, {Status::kWarning, "warning"}, {Status::kFailed, "failed"}, {Status::kNotRun, "not_run"}};

int64_t count(const std::vector<Row>& rows, Status status) {
  return std::count_if(rows.begin(), rows.end(), [&](const Row& row) { return row.status == status; });
}

std::string placement_text(const std::vector<RankPlace>& places) {
  constexpr size_t kShown = 64;
  size_t width = 4;
  for (const auto& p : places) width = std::max(width, p.host.size());
  std::string text =
      fmt::format("{:>5}  {:<{}}  {:>5}  {:<7} {:>7}  {}\n", "rank", "host", width, "local", "device", "threads", "cores");
  for (size_t i = 0; i < places.size() && i < kShown; ++i) {
    const auto& p = places[i];
    text += fmt::format("{:>5}  {:<{}}  {:>5}  {:<7} {:>7}  {}\n", p.rank, p.host, width, p.local_rank,
                        device_of(p), p.threads,
                        (p.cores.empty() ? "unknown" : ranges_text(p.cores)) + (p.uuid.empty() ? "" : "  " + p.uuid));
  }
  return places.size() > kShown ? text + fmt::format("and {} ranks more (--json lists all)\n", places.size() - kShown) : text;
}

std::string row_text(const Row& row) {
  constexpr size_t kShown = 8;
  const std::string status = row.status == Status::kNotRun ? "not run" : kNames.at(row.status);
  std::string text = fmt::format("{:<8} {:<14} {}\n", status, row.name, row.found);
  if (row.status == Status::kOk || row.status == Status::kNotRun) return text;
  for (size_t i = 0; i < row.details.size() && i < kShown; ++i) text += fmt::format("{:<9}{:<15}{}\n", "", "", row.details[i]);
  if (row.details.size() > kShown) text += fmt::format("{:<24}and {} more\n", "", row.details.size() - kShown);
  return row.fix.empty() ? text : text + fmt::format("{:<9}{:<15}{}\n", "", "-> do:", row.fix);
}

}  // namespace

ExitCode verdict_of(const std::vector<Row>& rows) {
  const auto failed = std::find_if(rows.begin(), rows.end(), [](const Row& row) { return row.status == Status::kFailed; });
  return failed == rows.end() ? ExitCode::kOk : failed->code;
}

Json row_json(const Row& row) {
  return {{"name", row.name},
          {"status", kNames.at(row.status)},
          {"found", row.found},
          {"fix", row.fix},
          {"exit_code", row.status == Status::kFailed ? static_cast<int>(row.code) : 0},
          {"details", row.details},
          {"values", row.values}};
}

Row row_from_json(const Json& json) {
  Row row{json.at("name"), Status::kOk, json.at("found"), json.at("fix")};
  for (const auto& [status, name] : kNames)
    if (json.at("status") == name) row.status = status;
  if (row.status == Status::kFailed) row.code = static_cast<ExitCode>(json.at("exit_code").get<int>());
  row.details = json.at("details").get<std::vector<std::string>>();
  row.values = json.at("values");
  return row;
}

std::string preflight_text(const Preflight& checks) {
  std::string text = placement_text(checks.places) + "\n";
  for (const auto& row : checks.rows) text += row_text(row);
  const auto failed = count(checks.rows, Status::kFailed), warned = count(checks.rows, Status::kWarning);
  const auto code = static_cast<int>(verdict_of(checks.rows));
  return text + fmt::format("\nverdict: {} ({} failed, {} {}; {:.1f} s), exit code {}\n",
                            failed   ? "do not start"
                            : warned ? "start, but look at the warnings"
                                     : "start",
                            failed, warned, warned == 1 ? "warning" : "warnings", checks.seconds, code);
}

Json preflight_json(const Preflight& checks) {
  Json placement = Json::array(), rows = Json::array();
  for (const auto& p : checks.places) placement.push_back(place_json(p));
  for (const auto& row : checks.rows) rows.push_back(row_json(row));
  const auto code = static_cast<int>(verdict_of(checks.rows));
  return {{"version", 1},
          {"verdict", code                                   ? "failed"
                      : count(checks.rows, Status::kWarning) ? "warnings"
                                                             : "ok"},
          {"exit_code", code},
          {"ranks", checks.places.size()},
          {"hosts", hosts_of(checks.places).size()},
          {"seconds", checks.seconds},
          {"placement", placement},
          {"checks", rows},
          {"run", checks.run}};
}

}  // namespace fmtrain
