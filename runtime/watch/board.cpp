#include "runtime/watch/board.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <tuple>

namespace fmtrain {

bool process_stopped(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const auto end = line.rfind(')');
  return end != std::string::npos && end + 2 < line.size() && (line[end + 2] == 'T' || line[end + 2] == 't');
}

RankState state_of(const Seat& s, double now) {
  const auto calls = s.journal.last();
  return {s.rank, s.pid, s.step, s.journal.issued(), s.meetings, now - s.beat, process_stopped(static_cast<pid_t>(s.pid.load())), s.phase,
          calls.empty() ? Collective{} : calls.back()};
}

std::string describe(const Collective& c, double now) {
  return std::string(c.op_name()) + words_of(c.group) + " of " + std::to_string(c.bytes) + " bytes (collective " + std::to_string(c.seq) + ", " + c.state_name() +
         " for " + std::to_string(std::lround(now - c.since)) + " s)";
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
  const auto done = [](const RankState& r) { return std::tie(r.issued, r.meetings); };
  const auto last = std::min_element(ranks.begin(), ranks.end(), [&](const auto& a, const auto& b) { return done(a) < done(b); });
  const auto behind = std::count_if(ranks.begin(), ranks.end(), [&](const RankState& r) { return done(r) == done(*last); });
  if (behind != 1) return {};
  return *last;
}

}  // namespace fmtrain
