#include "runtime/preflight/subjects.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "runtime/percentile.h"

namespace fmtrain {
namespace {

std::string gigabytes(int64_t bytes) {
  return bytes >= 1'000'000'000 ? fmt::format("{:.2f} GB", 1e-9 * static_cast<double>(bytes))
                                : fmt::format("{:.1f} MB", 1e-6 * static_cast<double>(bytes));
}

std::string duration(double seconds) {
  return seconds < 120    ? fmt::format("{:.0f} s", seconds)
         : seconds < 7200 ? fmt::format("{:.0f} min", seconds / 60)
                          : fmt::format("{:.1f} h", seconds / 3600);
}

/// The value that most ranks have in column `k`.
std::string usual(const std::vector<std::vector<std::string>>& values, size_t k) {
  const auto like = [&](const auto& x) {
    return std::count_if(values.begin(), values.end(), [&](const auto& y) { return y[k] == x[k]; });
  };
  return (*std::max_element(values.begin(), values.end(), [&](const auto& x, const auto& y) { return like(x) < like(y); }))[k];
}

}  // namespace

std::vector<std::string> rank_names(const std::vector<std::string>& host_of_rank) {
  std::vector<std::string> names;
  for (size_t rank = 0; rank < host_of_rank.size(); ++rank)
    names.push_back(fmt::format("rank {} on {}", rank, host_of_rank[rank]));
  return names;
}

void judge_equal(Row& row, const std::vector<std::string>& what, const std::vector<std::vector<std::string>>& values,
                 const std::vector<std::string>& names, const std::string& fix) {
  std::vector<std::string> common;
  for (size_t k = 0; k < what.size(); ++k) common.push_back(usual(values, k));
  Json odd = Json::array();
  for (size_t rank = 0; rank < values.size(); ++rank) {
    std::string differs;
    for (size_t k = 0; k < what.size(); ++k)
      if (values[rank][k] != common[k]) differs += (differs.empty() ? "another " : ", another ") + what[k];
    if (differs.empty()) continue;
    odd.push_back(rank);
    row.details.push_back(names[rank] + ": " + differs);
  }
  if (odd.empty()) return;
  row.status = Status::kFailed;
  row.found = fmt::format("{} of {} ranks differ from the others", odd.size(), values.size());
  row.fix = fix;
  row.values["odd_ranks"] = odd;
}

void judge_faults(Row& row, const std::vector<std::string>& faults, const std::vector<std::string>& names) {
  const auto first = std::find_if(faults.begin(), faults.end(), [](const auto& f) { return !f.empty(); });
  if (first == faults.end()) return;
  row.status = Status::kFailed;
  const bool everywhere = std::all_of(faults.begin(), faults.end(), [&](const auto& f) { return f == *first; });
  row.found = everywhere ? *first : names[static_cast<size_t>(first - faults.begin())] + ": " + *first;
  if (everywhere) return;
  for (auto fault = first + 1; fault != faults.end(); ++fault)
    if (!fault->empty()) row.details.push_back(names[static_cast<size_t>(fault - faults.begin())] + ": " + *fault);
}

Row judge_memory(const std::vector<RankNeed>& needs, const std::vector<std::string>& names) {
  Row row{"memory", Status::kOk, "", ""};
  const auto tight = [](const RankNeed& n) { return n.limit > 0 ? n.limit - n.total : INT64_MAX; };
  const auto& worst =
      *std::min_element(needs.begin(), needs.end(), [&](const auto& a, const auto& b) { return tight(a) < tight(b); });
  row.found = fmt::format("a rank needs about {} and may take {}", gigabytes(worst.total),
                          worst.limit > 0 ? gigabytes(worst.limit) + " (" + worst.source + ")" : "an unknown amount");
  row.values = {{"total", worst.total}, {"limit", worst.limit}, {"source", worst.source}};
  for (size_t rank = 0; rank < needs.size(); ++rank) {
    if (tight(needs[rank]) >= 0) continue;
    row.status = Status::kFailed;
    row.details.push_back(fmt::format("{}: needs {}, may take {} ({})", names[rank], gigabytes(needs[rank].total),
                                      gigabytes(needs[rank].limit), needs[rank].source));
    if (row.fix.empty())
      row.fix = needs[rank].advice.empty() ? "no setting of this model fits: fewer ranks a host, or hosts with more memory"
                                           : "set " + needs[rank].advice;
  }
  return row;
}

Row judge_time(int64_t steps, double step_seconds, double limit) {
  Row row{"time", Status::kOk, fmt::format("{} updates", steps), ""};
  row.values = {{"steps", steps}, {"step_s", step_seconds}, {"limit_s", limit}};
  const double needed = static_cast<double>(steps) * step_seconds;
  if (step_seconds > 0) row.found += ", about " + duration(needed) + " by the last ones";
  if (limit > 0) row.found += ", limit in " + duration(limit);
  if (limit <= 0 || needed <= limit) return row;
  row.status = Status::kWarning;
  row.fix = "the run stops in time with 75 and goes on when it is started again: let the job requeue, or ask for more time";
  return row;
}

double logged_step_seconds(FileOps& files, const std::string& run_dir) {
  constexpr size_t kLines = 50, kBytes = 256u << 20;
  std::vector<double> seconds;
  try {
    std::istringstream log(read_file(files, run_dir + "/log.jsonl", kBytes));
    for (std::string line; std::getline(log, line);) {
      const Json json = parse_json(line, {1u << 16, 8});
      if (json.at("seconds").at("total").is_number()) seconds.push_back(json.at("seconds").at("total"));
      if (seconds.size() > kLines) seconds.erase(seconds.begin());
    }
  } catch (const std::exception&) {
    if (seconds.empty()) return 0;  // none, or one that another program wrote
  }
  if (seconds.empty()) return 0;
  std::sort(seconds.begin(), seconds.end());
  return percentile(seconds, 0.5);
}

}  // namespace fmtrain
