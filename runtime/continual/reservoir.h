// Which old examples are kept for replay, so that a fine-tuned model does not forget.
#pragma once
#include <cstdint>
#include <vector>

#include "runtime/continual/examples.h"

namespace fmtrain {

struct ReservoirOptions {
  int64_t capacity = 50'000;             ///< examples
  int64_t period = 30LL * 24 * 60 * 60;  ///< seconds of a stratum of time
  uint64_t seed = 1;
};

struct Reservoir {
  std::vector<Example> examples;  ///< sorted by hash
  int64_t quota = INT64_MAX;      ///< of a stratum; stored with the examples, for it must never rise again
};

/// At most `capacity` of the examples kept so far and of fresh ones. Every stratum (class, period) keeps up to `quota` of
/// them, the largest quota that fits: small strata keep all they have, large ones those whose keyed hashes (seed, content) are
/// smallest. Where there are more strata than capacity (quota 0), the smallest of each stratum competes, and of those the
/// `capacity` smallest are kept: one example each of strata drawn at random.
///
/// What is kept is a function of the set of examples, not of their order; and as the quota only falls, adding part by part
/// gives the same as choosing from everything that ever came. Less than one example a stratum of the capacity stays unused.
Reservoir add_to_reservoir(const Reservoir& kept, const std::vector<Example>& fresh, const ReservoirOptions& options);

}  // namespace fmtrain
