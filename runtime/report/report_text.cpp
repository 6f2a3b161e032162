#include <cstdio>

#include "runtime/metrics/report_text.h"
#include "runtime/report/report.h"

namespace fmtrain {
namespace {

std::string line(const char* format, auto... values) {
  char buffer[256];
  std::snprintf(buffer, sizeof buffer, format, values...);
  return std::string(buffer) + "\n";
}

/// "44.71 (41.2-48.0)" in percent.
std::string with_interval(const Json& split, const std::string& name) {
  if (!split.at("metrics").contains(name) || !split.at("metrics").at(name).is_number()) return "n/a";
  char buffer[64];
  const double value = 100 * split.at("metrics").at(name).get<double>();
  if (split.contains("intervals") && split.at("intervals").contains(name) && split.at("intervals").at(name).is_array()) {
    const auto& i = split.at("intervals").at(name);
    std::snprintf(buffer, sizeof buffer, "%6.2f (%.1f-%.1f)", value, 100 * i[0].get<double>(), 100 * i[1].get<double>());
  } else {
    std::snprintf(buffer, sizeof buffer, "%6.2f", value);
  }
  return buffer;
}

std::string table(const std::string& split, const Json& before, const Json& after) {
  std::string out = line("%-11s %-14s %-24s %-24s %8s", split.c_str(), "metric, %", "before (95 %)", "after (95 %)", "change");
  for (const char* name : {"f1", "precision", "recall", "accuracy", "macro_f1"}) {
    if (!after.at("metrics").contains(name)) continue;
    const double change = 100 * (after.at("metrics").at(name).get<double>() - before.at("metrics").at(name).get<double>());
    out += line("%-11s %-14s %-24s %-24s %+8.2f", "", name, with_interval(before, name).c_str(), with_interval(after, name).c_str(), change);
  }
  out += line("%-11s %-14s %-24.4f %-24.4f %+8.4f", "", "loss", before.at("loss").get<double>(), after.at("loss").get<double>(),
              after.at("loss").get<double>() - before.at("loss").get<double>());
  out += line("%-11s %-14s %-24.1f %-24.1f", "", "samples/s", before.at("samples_per_s").get<double>(), after.at("samples_per_s").get<double>());
  return out + "\n";
}

}  // namespace

std::string report_text(const Json& report) {
  const auto& run = report.at("run");
  const auto& training = report.at("training");
  std::string out = line("%s: %d ranks x %d threads on %s, %s, seed %lld", run.at("name").get<std::string>().c_str(), run.at("ranks").get<int>(), run.at("threads").get<int>(),
                         run.at("device").get<std::string>().c_str(), run.at("precision").get<std::string>().c_str(), static_cast<long long>(run.at("seed").get<int64_t>())) + "\n";
  for (const char* split : {"validation", "test"})
    if (report.at("after").contains(split)) out += table(split, report.at("before").at(split), report.at("after").at(split));
  out += line("training    %lld steps in %.1f s: %.1f samples/s, %.0f tokens/s, %.1f GFLOP/s; first step after %.1f s", static_cast<long long>(training.at("steps").get<int64_t>()),
              training.at("seconds").get<double>(), training.at("samples_per_s").get<double>(), training.at("tokens_per_s").get<double>(), training.at("gflop_per_s").get<double>(),
              training.at("first_step_s").get<double>());
  const auto& phases = training.at("seconds_by_phase");
  out += line("time        compute %.1f s, communication %.1f s, data wait %.1f s, optimizer %.1f s", phases.at("compute").get<double>(), phases.at("communication").get<double>(),
              phases.at("data").get<double>(), phases.at("optimizer").get<double>());
  return out + line("weights     sha256 %s", report.at("weights_sha256").get<std::string>().c_str());
}

}  // namespace fmtrain
