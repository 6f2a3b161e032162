#include "launch/environment.h"

#include <algorithm>
#include <cstdlib>

namespace fmtrain {
namespace {

std::string text_of(const char* name) {
  const char* text = std::getenv(name);
  return text ? text : "";
}

int64_t number_of(const char* name) { return std::atoll(text_of(name).c_str()); }

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

std::string cache_home() {
  if (const auto home = text_of("FMTRAIN_HOME"); !home.empty()) return home;
  const auto home = text_of("HOME");
  return (home.empty() ? "." : home) + "/.cache/fmtrain";
}

std::string terminal() { return text_of("TERM"); }

bool launched_by_mpi() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "PMI_RANK"})
    if (std::getenv(name)) return true;
  return number_of("SLURM_STEP_NUM_TASKS") > 1;
}

/// mpirun inside a Slurm job starts its daemons as a step, so the variables of MPI go first.
int launched_processes() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
    if (const auto n = number_of(name); n > 0) return static_cast<int>(n);
  return 0;
}

int launched_number() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})
    if (std::getenv(name)) return static_cast<int>(number_of(name));
  return 0;
}

void skip_networks_on_one_host() {
  const auto ranks = number_of("OMPI_COMM_WORLD_SIZE");
  const bool one_host = ranks > 0 && number_of("OMPI_COMM_WORLD_LOCAL_SIZE") == ranks;
  if (one_host && !std::getenv("OMPI_MCA_pml") && !std::getenv("OMPI_MCA_mtl")) setenv("OMPI_MCA_pml", "^ucx,cm", 1);
}

bool gpu_sharing_wanted() { return text_of("NCCL_MULTI_RANK_GPU_ENABLE") == "1"; }

std::vector<std::pair<std::string, std::string>> recorded_environment() {
  constexpr size_t kBytes = 200;
  std::vector<std::pair<std::string, std::string>> all;
  for (const char* name : {"OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_NNODES", "SLURM_RESTART_COUNT",
                           "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "FMTRAIN_WAIT_LIMIT", "FMTRAIN_STEP_LIMIT", "FMTRAIN_WATCH_PERIOD"})
    if (std::getenv(name)) all.emplace_back(name, text_of(name).substr(0, kBytes));
  return all;
}

std::string slurm_job() { return text_of("SLURM_JOB_ID"); }

int64_t slurm_restarts() { return number_of("SLURM_RESTART_COUNT"); }

double slurm_deadline() {
  constexpr double kLeaving = 10;
  const double end = std::atof(text_of("SLURM_JOB_END_TIME").c_str());
  return end > 0 ? end - kLeaving : 0;
}

}  // namespace fmtrain
