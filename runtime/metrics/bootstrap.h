// Percentile bootstrap over texts. The draws are a function of (seed, resample, position) alone, so every rank, and every
// number of ranks, finds the same interval.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/json.h"

namespace fmtrain {

struct Interval {
  double low = 0, high = 0;
};

/// Computes the statistics of one resample: `drawn` holds `texts` indices in [0, texts), drawn with replacement.
using Statistics = std::function<void(std::span<const int64_t> drawn, std::span<double> values)>;

/// 95 % interval (2.5 % and 97.5 % points, linear between order statistics as numpy.percentile) of each of `statistics` values.
/// Empty without texts or resamples. Texts are the units that are drawn: words of one text are not independent.
std::vector<Interval> bootstrap(int64_t texts, int64_t resamples, uint64_t seed, size_t statistics, const Statistics& compute);

/// bootstrap() as JSON: {"level": 0.95, "resamples", "seed", then each name: [low, high]}; empty without texts or resamples.
Json intervals_json(int64_t texts, int64_t resamples, uint64_t seed, const std::vector<const char*>& names,
                    const Statistics& compute);

}  // namespace fmtrain
