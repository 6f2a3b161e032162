#include "runtime/scaling/measured_run.h"

#include <algorithm>

#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/json.h"
#include "runtime/report/run_log.h"

namespace fmtrain {
namespace {

constexpr size_t kLargestReport = 64u << 20;

void add_update(MeasuredRun& run, const Json& line) {
  ++run.updates;
  run.seconds += line.at("seconds").at("total").get<double>();
  run.samples += line.at("samples").get<double>();
  run.tokens += line.at("tokens").get<double>();
  for (size_t i = 0; i < kStepParts.size(); ++i) run.parts[i] += line.at("seconds").at(kStepParts[i]).get<double>();
}

void read_log(MeasuredRun& run, const std::string& path, int64_t warmup) {
  for (const Json& line : read_jsonl(path)) {
    run.losses.push_back(line.at("loss_hex").get<std::string>());
    if (line.at("step").get<int64_t>() > warmup) add_update(run, line);
  }
  if (run.updates == 0 || run.seconds <= 0)
    throw DataError(path + ": no update is left after " + std::to_string(warmup) + " of warm-up");
  for (double& part : run.parts) part /= static_cast<double>(run.updates);
}

void read_memory(MeasuredRun& run, const Json& ranks) {
  double slowest = 0, sum = 0;
  for (const Json& rank : ranks) {
    run.rss = std::max(run.rss, rank.at("rss").get<double>());
    run.peak_rss = std::max(run.peak_rss, rank.at("peak_rss").get<double>());
    run.pss = std::max(run.pss, rank.at("pss").get<double>());
    run.pss_sum += rank.at("pss").get<double>();
    const double compute = rank.at("seconds").at("compute").get<double>();
    slowest = std::max(slowest, compute);
    sum += compute;
  }
  if (sum > 0) run.slowest = slowest * static_cast<double>(ranks.size()) / sum;
}

/// The run's own share is over all its updates; useful work a token is the same in both.
void read_product_share(MeasuredRun& run, const Json& training) {
  const Json& share = training.at("gemm_share");
  const double whole = training.at("tokens_per_s").get<double>();
  if (share.is_number() && whole > 0) run.product_share = share.get<double>() * run.tokens_per_second() / whole;
}

void read_report(MeasuredRun& run, const Json& report) {
  const Json& facts = report.at("run");
  run.ranks = facts.at("ranks").get<int>();
  run.hosts = facts.at("hosts").get<int>();
  run.threads = facts.at("threads").get<int>();
  run.device = facts.at("device").get<std::string>();
  run.weights = report.at("weights_sha256").get<std::string>();
  read_memory(run, report.at("memory"));
  read_product_share(run, report.at("training"));
}

}  // namespace

MeasuredRun read_run(const std::string& dir, int64_t warmup) {
  MeasuredRun run;
  std::string file = dir + "/log.jsonl";
  try {
    read_log(run, file, warmup);
    file = dir + "/report.json";
    read_report(run, parse_json(read_file(posix_files(), file, kLargestReport), {kLargestReport, 16}));
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw DataError(file + ": is not what a run of this program writes: " + quoted(error.what()));
  }
  return run;
}

}  // namespace fmtrain
