#include "runtime/watch/failure.h"

#include <unistd.h>

#include <map>

#include "runtime/file_ops.h"
#include "runtime/json.h"
#include "runtime/report/memory.h"

namespace fmtrain {
namespace {

Json to_json(const Collective& c, double now) {
  if (c.seq == 0) return {};
  return {{"seq", c.seq}, {"op", std::string(c.op_name()) + words_of(c.group)}, {"bytes", c.bytes}, {"state", c.state_name()}, {"seconds_ago", now - c.since}};
}

Json to_json(const RankState& r, double now) {
  return {{"rank", r.rank}, {"pid", r.pid}, {"phase", r.phase}, {"step", r.step}, {"stopped", r.stopped}, {"silent_seconds", r.silent},
          {"last_collective", to_json(r.last, now)}};
}

Json to_json(const FailureRecord& f) {
  const double now = steady_seconds();
  const auto& r = f.exit;
  const MemoryUse memory = memory_use();
  Json ranks = Json::array(), calls = Json::array();
  for (const auto& rank : f.ranks) ranks.push_back(to_json(rank, now));
  for (const auto& call : f.collectives) calls.push_back(to_json(call, now));
  return {{"code", r.code}, {"reason", r.reason}, {"rank", r.rank}, {"host", r.host}, {"device", f.device}, {"phase", r.phase},
          {"step", r.step}, {"ranks_of_host", ranks}, {"collectives", calls}, {"stack", f.stack},
          {"memory", {{"rss", memory.rss}, {"peak_rss", memory.peak_rss}, {"ledger", f.ledger}}},
          {"environment", Json(std::map<std::string, std::string>(f.environment.begin(), f.environment.end()))}};
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

std::string rank_line(const RankState& rank, const std::string& host, double now) {
  return "  " + describe(rank, host) + (rank.last.seq ? ", last " + describe(rank.last, now) : "") + "\n";
}

std::string text_of(const FailureRecord& f) {
  const auto& r = f.exit;
  std::string text = "The run broke (exit code " + std::to_string(r.code) + ").\n\n" + r.reason + "\n\nNoticed first by rank " +
                     std::to_string(r.rank) + " on " + r.host + " (" + f.device + "), in " + r.phase + ", step " + std::to_string(r.step) + ".\n";
  constexpr size_t kShown = 16;
  for (size_t i = 0; i < f.ranks.size() && i < kShown; ++i) text += rank_line(f.ranks[i], r.host, steady_seconds());
  if (f.ranks.size() > kShown) text += "  ... the other ranks of this host are in failure.json\n";
  return text + "\n" + advice(r.code) + "\n";
}

}  // namespace

bool of_all_ranks(int code) { return code == 1 || code == 7 || code == 8; }

void write_failure(const std::string& run_dir, const FailureRecord& f) noexcept try {
  const std::string path = run_dir + "/failure.json", mine = run_dir + "/failure.rank-" + std::to_string(f.exit.rank) + ".json";
  write_file_atomic(posix_files(), mine, to_json(f).dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  const bool first = f.found && ::link(mine.c_str(), path.c_str()) == 0;  // fails when the name exists, unlike rename
  if (!of_all_ranks(f.exit.code)) ::unlink(mine.c_str());
  if (first) write_file_atomic(posix_files(), run_dir + "/failure.txt", text_of(f));
} catch (...) {
}

void clear_failure(const std::string& run_dir) noexcept try {
  std::vector<std::string> names;
  posix_files().list(run_dir, &names);
  for (const auto& name : names)
    if (name == "failure.json" || name == "failure.txt" || name.starts_with("failure.txt.tmp-") || name.starts_with("failure.rank-"))
      ::unlink((run_dir + "/" + name).c_str());
} catch (...) {
}

}  // namespace fmtrain
