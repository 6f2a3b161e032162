#include "runtime/watch/board.h"

#include <algorithm>
#include <fstream>

namespace fmtrain {

bool process_stopped(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const auto end = line.rfind(')');
  return end != std::string::npos && end + 2 < line.size() && (line[end + 2] == 'T' || line[end + 2] == 't');
}

std::string describe(const RankState& s, const std::string& host) {
  return "rank " + std::to_string(s.rank) + " on " + host + " (process " + std::to_string(s.pid) + (s.stopped ? ", stopped" : "") + "), in " +
         s.phase + ", step " + std::to_string(s.step);
}

std::optional<RankState> culprit(const std::vector<RankState>& ranks, double patience) {
  for (const auto& r : ranks)
    if (r.stopped) return r;
  for (const auto& r : ranks)
    if (r.silent > patience) return r;
  if (ranks.size() < 2) return {};
  const auto less = [](const RankState& a, const RankState& b) { return a.progress < b.progress; };
  const auto last = std::min_element(ranks.begin(), ranks.end(), less);
  const auto behind = std::count_if(ranks.begin(), ranks.end(), [&](const RankState& r) { return r.progress == last->progress; });
  if (behind != 1) return {};
  return *last;
}

}  // namespace fmtrain
