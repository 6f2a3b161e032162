// A timeline replayed over many numbers of ranks, and what follows from it: the largest useful number of ranks, the best stage,
// bucket size and accumulation, and what failures leave.
#pragma once
#include <string>
#include <vector>

#include "runtime/json.h"
#include "runtime/scaling/goodput.h"
#include "runtime/scaling/step_model.h"

namespace fmtrain {

struct Simulation {
  std::vector<int> ranks;
  std::vector<int> stages{0, 1, 2, 3};
  Algorithm algorithm = Algorithm::kHierarchical;
  Network network;
  bool by_node = false;                ///< engine.shard_group: node
  double useful = 0.7;                 ///< efficiency from which a number of ranks is called useful
  double memory = 0;                   ///< bytes of a rank for parameters, gradients and optimizer state; 0: enough
  double part_mean_time = 0;           ///< seconds between failures of one rank; 0: none
  double checkpoint = 0, restart = 0;  ///< seconds, see Failures
};

/// {"version": 1, "kind": "fmtrain simulation", "timeline", "algorithm", "network", "shard_group", "failures",
///  "rows": [{"ranks", "stage", "leaves": of a rank in strong scaling, null where there are fewer leaves than ranks,
///            "strong", "weak": {"step_s", "exposed_s", "hidden_s", "optimizer_s", "straggling_s", "efficiency",
///            "samples_per_s"} or null,
///            "between_bytes": that a rank sends to other nodes in an update of weak scaling,
///            "state_bytes", "fits", "goodput", "checkpoint_interval_s": null without failures}],
///  "advice": {"largest_useful": {"strong", "weak"}: {"ranks", "stage"} or null, with Simulation::useful,
///             "buckets": [{"ranks", "stage": the fastest that fits, "bytes": of a bucket that gives the shortest update in
///             weak scaling,
///                          "leaves": the fewest a rank with useful efficiency, or null}]}}
Json simulate(const Timeline& timeline, const Simulation& simulation);
std::string simulation_text(const Json& simulated);
/// Efficiency of weak scaling over the ranks (logarithm), a line a stage.
std::string simulation_picture(const Json& simulated);

/// The rows of a scaling.json (compare.h) beside what the model says of them:
/// [{"mode", "ranks", "oversubscribed", "measured_s", "predicted_s", "error": predicted / measured - 1}].
Json validate(const Timeline& timeline, const Simulation& simulation, int stage, const Json& scaling);
std::string validation_text(const Json& rows);

}  // namespace fmtrain
