#include "launch/placement.h"

#include <fstream>

#include "comm/gather.h"

namespace fmtrain {

std::string allowed_cpus() {
  std::ifstream status("/proc/thread-self/status");
  const std::string name = "Cpus_allowed_list:\t";
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(name)) return line.substr(name.size());
  return "unknown";
}

std::string line_of(const Place& place) {
  constexpr size_t kCpus = 60;
  const std::string cpus = place.cpus.size() > kCpus ? place.cpus.substr(0, kCpus) + "..." : place.cpus;
  return "rank " + std::to_string(place.rank) + ", local rank " + std::to_string(place.local_rank) + " on " + place.host + ": " +
         place.device + ", " + std::to_string(place.threads) + (place.threads == 1 ? " thread" : " threads") + ", CPUs " + cpus;
}

std::vector<std::string> placement_lines(Communicator& comm, const Place& mine) {
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
