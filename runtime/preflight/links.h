// What the network between hosts is worth: judgements on figures, however they were measured.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "runtime/preflight/row.h"

namespace fmtrain {

/// Of a pair of hosts, by one rank of each.
struct PairFigures {
  int a = 0, b = 0;        ///< ranks, a < b
  double latency = 0;      ///< seconds of one way: half of the shortest round trip
  double rate = 0;         ///< GB/s of the slower direction
  double ahead = 0;  ///< seconds that b's clock is ahead of a's, known to +- latency: the answer to the shortest round trip,
                     ///< against the middle of it (Cristian 1989, Probabilistic clock synchronization)
};

/// Who meets whom: everyone with everyone once, in as few rounds as there can be, all pairs of a round at once (round robin by
/// the circle method). Indices below `count`.
std::vector<std::vector<std::pair<int, int>>> rounds_of(int count);

using HostNames = std::map<int, std::string>;  ///< by rank

/// With three pairs or more, those that have less than half of what hosts usually have: the median of the hosts' best rates, so
/// that one slow host does not hide behind most of three pairs. Those below `expected` GB/s (0: nothing is expected) in any
/// case.
std::vector<PairFigures> slow_pairs(const std::vector<PairFigures>& pairs, double expected);

/// Warns of slow pairs, and of the host that has only such. `all`: pairs that there are.
Row judge_pairs(const std::vector<PairFigures>& pairs, const HostNames& hosts, double expected, int64_t all);

/// Warns where clocks of two hosts are surely more than a second apart: leases and time limits go by them.
Row judge_clocks(const std::vector<PairFigures>& pairs, const HostNames& hosts);

/// Of all ranks together.
struct CollectiveFigures {
  int64_t wrong = 0;      ///< elements of a sum of integers that are not what they must be
  int64_t bytes = 0;      ///< of the all-reduce that was timed
  double rate = 0;        ///< GB/s, bus bandwidth as nccl-tests define it (doc/PERFORMANCE.md there)
};
/// Fails (1) where the sum is wrong, for then nothing that is computed can be believed. name: "collectives", "nccl".
Row judge_collectives(const std::string& name, const CollectiveFigures& figures, int ranks, double expected);

}  // namespace fmtrain
