// Simulated pairs of models for the gate's tests and simulations.
#pragma once
#include <cstdint>

#include "runtime/continual/paired_bootstrap.h"
#include "runtime/draws.h"

namespace fmtrain {

/// n examples on which the models differ with probability `discordance`, so that the challenger's true gain in accuracy is
/// `gain`; where they agree, they are right with probability 0.9. Two strata.
inline PairedCounts simulated_pair(int64_t n, double discordance, double gain, uint64_t seed) {
  Draws draws(seed, 0x67617465, 0);
  PairedCounts counts{2, {}, {}, {}};
  for (uint64_t i = 0; i < static_cast<uint64_t>(n); ++i) {
    const double u = draws.unit(2 * i);
    const bool worse = u < (discordance - gain) / 2, better = !worse && u < discordance;
    const bool right = draws.unit(2 * i + 1) < 0.9;
    const bool champion = worse || (!better && right), challenger = better || (!worse && right);
    counts.champion.insert(counts.champion.end(), {champion, 1});
    counts.challenger.insert(counts.challenger.end(), {challenger, 1});
    counts.strata.push_back(static_cast<int32_t>(i % 2));
  }
  return counts;
}

}  // namespace fmtrain
