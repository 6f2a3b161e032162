// Measures the network with as little as it takes: some seconds, whatever the number of hosts.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "comm/communicator.h"
#include "comm/pair_channel.h"
#include "runtime/preflight/links.h"

namespace fmtrain {

struct MeasureClocks {
  std::function<double()> steady, wall;  ///< seconds
};
MeasureClocks real_clocks();

/// Both ranks of a pair call it, with the same a < b; a has the figures, b gets none of its own. At least three round trips and one
/// message of 64 KiB each way; more, of up to 32 MiB, for a tenth of a second.
PairFigures measure_pair(PairChannel& channel, int a, int b, int me, const MeasureClocks& clocks);

/// Collective. All pairs of `leaders`, a round of rounds_of() at a time, as many rounds as begin within `budget` seconds; then
/// pairs that look slow once more, up to three times, alone, for others may have been in their way. The same on every rank, by a and b.
std::vector<PairFigures> measure_pairs(Communicator& comm, PairChannel& channel, const std::vector<int>& leaders,
                                       double expected, const MeasureClocks& clocks, double budget);

/// Collective. A sum of integers in the order of the tree, and an all-reduce of as many bytes (64 KiB to `most`) as take some
/// 20 ms.
CollectiveFigures measure_collectives(Communicator& comm, at::Device device, int64_t most);

}  // namespace fmtrain
