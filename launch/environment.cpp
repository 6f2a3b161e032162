#include "launch/environment.h"

#include <algorithm>
#include <cstdlib>

namespace fmtrain {
namespace {

double seconds_of(const char* name, double preset, double least) {
  const char* text = std::getenv(name);
  if (!text) return preset;
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end || !(value >= least && value <= 1e6))
    throw ConfigError(std::string(name) + ": " + quoted(text) + " is not a number of seconds from " + (least < 1 ? "0.1" : "1") + " to 1000000");
  return value;
}

}  // namespace

WatchOptions watch_options() {
  WatchOptions options;
  options.limits.phase = seconds_of("FMTRAIN_WAIT_LIMIT", options.limits.phase, 1);
  options.limits.step = std::min(options.limits.phase, seconds_of("FMTRAIN_STEP_LIMIT", options.limits.step, 1));
  options.period = seconds_of("FMTRAIN_WATCH_PERIOD", options.period, 0.1);
  return options;
}

std::string slurm_job() {
  const char* text = std::getenv("SLURM_JOB_ID");
  return text ? text : "";
}

int64_t slurm_restarts() {
  const char* text = std::getenv("SLURM_RESTART_COUNT");
  return text ? std::atoll(text) : 0;
}

double slurm_end_time() {
  const char* text = std::getenv("SLURM_JOB_END_TIME");
  return text ? std::atof(text) : 0;
}

}  // namespace fmtrain
