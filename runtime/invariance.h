// The claim "same bits for every number of ranks", tried on a user's own config: numerics in one process, ranks as threads.
#pragma once
#include <cstdint>
#include <string>

#include "runtime/config/config.h"
#include "runtime/json.h"

namespace fmtrain {

/// Trains `config` for `steps` updates on 1, 2, 4, ... ranks, as many as divide its leaves, at most `most_ranks`, without any
/// evaluation. Returns {steps, leaves, equal, runs: [{ranks, seconds, losses: [C "%a"...], weights_sha256, equal}]}; equal: all losses
/// and weights have the bits of the run on one rank. Works in a folder of its own in the cache, which is removed. Throws what
/// a run throws.
Json check_invariance(const Config& config, int64_t steps, int most_ranks);

/// A table for people.
std::string invariance_text(const Json& facts);

}  // namespace fmtrain
