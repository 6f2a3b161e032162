#include "runtime/watch/failure.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "runtime/file_ops.h"
#include "runtime/json.h"
#include "runtime/report/memory.h"

namespace fmtrain {
namespace {

/// The whole list: nothing else of the environment is ever written.
constexpr const char* kVariables[] = {"OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_NNODES", "SLURM_RESTART_COUNT",
                                      "OMPI_COMM_WORLD_SIZE", "FMTRAIN_WAIT_LIMIT", "FMTRAIN_STEP_LIMIT", "FMTRAIN_WATCH_PERIOD"};

Json environment() {
  Json json = Json::object();
  for (const char* name : kVariables)
    if (const char* value = std::getenv(name)) json[name] = std::string(value).substr(0, 200);
  return json;
}

Json to_json(const RankState& r) {
  return {{"rank", r.rank}, {"pid", r.pid}, {"phase", r.phase}, {"step", r.step}, {"stopped", r.stopped}, {"silent_seconds", r.silent}};
}

const char* advice(int code) {
  switch (code) {
    case 2: return "Correct the config or the command line as the reason says, and start again.";
    case 3: return "Correct the data as the reason says, and start again.";
    case 5: return "Free space or repair the storage, and start the same command again: it continues from the last checkpoint.";
    case 6: return "Lower optimizer.lr or check the data, and start again.";
    case 7: return "Look in the launcher's output and the host's kernel log (out of memory?) for why that process ended. Then start the same\n"
                   "command again: it continues from the last checkpoint.";
    case 8: return "Look at that host (file system, GPU, network). If it is only slow, raise FMTRAIN_WAIT_LIMIT or FMTRAIN_STEP_LIMIT.\n"
                   "Then start the same command again: it continues from the last checkpoint.";
    default: return "Start the same command again: it continues from the last checkpoint.";
  }
}

std::string text_of(const ExitRecord& r, const std::string& device, const std::vector<RankState>& ranks) {
  std::string text = "The run broke (exit code " + std::to_string(r.code) + ").\n\n" + r.reason + "\n\nNoticed first by rank " +
                     std::to_string(r.rank) + " on " + r.host + " (" + device + "), in " + r.phase + ", step " + std::to_string(r.step) + ".\n";
  constexpr size_t kShown = 16;
  for (size_t i = 0; i < ranks.size() && i < kShown; ++i) text += "  " + describe(ranks[i], r.host) + "\n";
  if (ranks.size() > kShown) text += "  ... the other ranks of this host are in failure.json\n";
  return text + "\n" + advice(r.code) + "\n";
}

}  // namespace

void write_failure(const std::string& run_dir, const ExitRecord& r, const std::string& device, const std::vector<RankState>& ranks) noexcept try {
  const MemoryUse memory = memory_use();
  Json all = Json::array();
  for (const auto& rank : ranks) all.push_back(to_json(rank));
  const Json json{{"code", r.code}, {"reason", r.reason}, {"rank", r.rank}, {"host", r.host}, {"device", device}, {"phase", r.phase}, {"step", r.step},
                  {"ranks_of_host", all}, {"memory", {{"rss", memory.rss}, {"peak_rss", memory.peak_rss}}}, {"environment", environment()}};
  const std::string path = run_dir + "/failure.json", mine = path + ".rank-" + std::to_string(r.rank);
  write_file_atomic(posix_files(), mine, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  const bool first = ::link(mine.c_str(), path.c_str()) == 0;  // fails when the name exists, unlike rename
  ::unlink(mine.c_str());
  if (first) write_file_atomic(posix_files(), run_dir + "/failure.txt", text_of(r, device, ranks));
} catch (...) {
}

void clear_failure(const std::string& run_dir) noexcept {
  for (const char* name : {"/failure.json", "/failure.txt"}) ::unlink((run_dir + name).c_str());
}

}  // namespace fmtrain
