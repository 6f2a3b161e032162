// The time of an update for any number of ranks, from one rank's recorded timeline and the models of collectives.h. Arithmetic
// only.
//
// A rank works through its leaves; during backward of the last one buckets go out in order over one channel, each when it is
// ready and the one before it is through. What is left at the end of backward is exposed. Stages (Rajbhandari et al., "ZeRO",
// SC 2020):
//   0  every bucket is all-reduced; every rank updates everything
//   1, 2  every bucket is reduce-scattered; a rank updates 1/n, then the parameters are all-gathered, exposed
//   3  besides, parameters are gathered by units (as the buckets are cut) before they are used in forward and in backward of
//   every leaf,
//      one unit ahead; nothing is gathered after the update
// On CPUs (Timeline::on_cpu) buckets go out when backward is over, and stage 3 gathers as stages 1 and 2 do.
// Where every node has a copy, the reduction ends with an all-reduce between nodes, and gathering stays inside.
// Then what is left over (Timeline::rest) and the sums for the norm are all-reduced, exposed.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "runtime/scaling/collectives.h"
#include "runtime/scaling/timeline.h"

namespace fmtrain {

struct Scenario {
  int ranks = 1;
  int stage = 0;       ///< 0..3
  int64_t leaves = 1;  ///< of one rank, one after the other
  Algorithm algorithm = Algorithm::kHierarchical;
  Network network;
  int cores = 0;  ///< of a node, when its ranks share cores; 0: they do not
  bool by_node = false;  ///< from stage 1 on every node has a copy, which its ranks share out
  /// Ranks that share out a copy.
  int sharers() const { return by_node ? std::min(ranks, network.per_node) : ranks; }
};

/// Seconds of an update.
struct PredictedStep {
  double compute = 0;  ///< forward and backward of all leaves of a rank
  double exposed = 0;  ///< communication that nothing hides
  double hidden = 0;   ///< communication behind compute
  double optimizer = 0;
  double straggling = 0;  ///< that the slowest of the ranks is expected to lie above the mean
  double other = 0;
  double total() const { return compute + exposed + optimizer + straggling + other; }
};

PredictedStep predict(const Timeline& timeline, const Scenario& scenario);

/// Bytes that a rank sends to other nodes in an update.
double between_bytes(const Timeline& timeline, const Scenario& scenario);

/// Leaves of the rank that has most, when n ranks share the global batch.
int64_t leaves_of_rank(const Timeline& timeline, int ranks);
/// T(1) / (n T(n)), and T(1) / T(n) with as many leaves a rank as one has alone; of stage scenario.stage.
double strong_efficiency(const Timeline& timeline, Scenario scenario);
double weak_efficiency(const Timeline& timeline, Scenario scenario);

/// Expected largest of n standard normal numbers: integral of 1 - F^n above 0, less that of F^n below (F the normal
/// distribution function). 0, 0.5642, 0.8463, ... of 1, 2, 3.
double expected_largest(int n);

/// Bytes of parameters, gradients and optimizer state of a rank of n, as performance figures of ZeRO count them. 4 bytes a
/// parameter: 16 P; 8 P + 8 P/n; 4 P + 12 P/n; 16 P/n. 2 bytes (with fp32 master): 16 P; 4 P + 12 P/n; 2 P + 14 P/n; 16 P/n.
/// Stage 3: and a unit.
double state_bytes(int stage, double parameters, double parameter_bytes, int n, double largest_unit);

}  // namespace fmtrain
