#include "launch/placement.h"

#include <sched.h>

#include "comm/gather.h"

namespace fmtrain {

std::vector<int> own_cores() {
  cpu_set_t set;
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;  // more cores than the set holds
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  return cores;
}

std::string line_of(const RankPlace& place) {
  constexpr size_t kCpus = 60;
  std::string cpus = place.cores.empty() ? "unknown" : ranges_text(place.cores);
  if (cpus.size() > kCpus) cpus = cpus.substr(0, kCpus) + "...";
  return "rank " + std::to_string(place.rank) + ", local rank " + std::to_string(place.local_rank) + " on " + place.host + ": " +
         device_of(place) + ", " + std::to_string(place.threads) + (place.threads == 1 ? " thread" : " threads") + ", CPUs " + cpus;
}

std::vector<std::string> placement_lines(Communicator& comm, const RankPlace& mine) {
  constexpr size_t kBytes = 384, kLines = 32;  // a host's name has at most 255
  auto rows = gather_rows(comm, line_of(mine), kBytes);
  for (auto& row : rows) row.resize(row.find_last_not_of('\0') + 1);
  if (rows.size() <= kLines) return rows;
  const size_t others = rows.size() - kLines;
  rows.resize(kLines);
  rows.push_back("and " + std::to_string(others) + " ranks more");
  return rows;
}

}  // namespace fmtrain
