#include "runtime/metrics/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "models/ops/philox.h"

namespace fmtrain {
namespace {

/// Index i of resample b: 64 random bits scaled to [0, texts). Each Philox call serves two positions.
void draw(std::vector<int64_t>& drawn, uint64_t resample, uint64_t seed) {
  const std::array<uint32_t, 2> key{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  constexpr uint32_t kPurpose = 0x626f6f74;  // "boot": not a stream that training uses
  for (size_t i = 0; i < drawn.size(); i += 2) {
    const auto bits = philox4x32(
        {static_cast<uint32_t>(i / 2), static_cast<uint32_t>(uint64_t{i} / 2 >> 32), static_cast<uint32_t>(resample), kPurpose},
        key);
    for (size_t j = 0; j < 2 && i + j < drawn.size(); ++j) {
      const uint64_t word = uint64_t{bits[2 * j + 1]} << 32 | bits[2 * j];
      drawn[i + j] = static_cast<int64_t>(static_cast<unsigned __int128>(word) * drawn.size() >> 64);
    }
  }
}

double percentile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - std::floor(at)) * (sorted[above] - sorted[below]);
}

}  // namespace

std::vector<Interval> bootstrap(int64_t texts, int64_t resamples, uint64_t seed, size_t statistics, const Statistics& compute) {
  if (texts <= 0 || resamples <= 0) return {};
  std::vector<int64_t> drawn(static_cast<size_t>(texts));
  std::vector<double> values(statistics);
  std::vector<std::vector<double>> samples(statistics);
  for (int64_t b = 0; b < resamples; ++b) {
    draw(drawn, static_cast<uint64_t>(b), seed);
    compute(drawn, values);
    for (size_t s = 0; s < statistics; ++s) samples[s].push_back(values[s]);
  }
  std::vector<Interval> intervals;
  for (auto& sample : samples) {
    std::sort(sample.begin(), sample.end());
    intervals.push_back({percentile(sample, 0.025), percentile(sample, 0.975)});
  }
  return intervals;
}

Json intervals_json(int64_t texts, int64_t resamples, uint64_t seed, const std::vector<const char*>& names,
                    const Statistics& compute) {
  const auto intervals = bootstrap(texts, resamples, seed, names.size(), compute);
  if (intervals.empty()) return Json::object();
  Json json{{"level", 0.95}, {"resamples", resamples}, {"seed", seed}};
  for (size_t i = 0; i < names.size(); ++i) json[names[i]] = {intervals[i].low, intervals[i].high};
  return json;
}

}  // namespace fmtrain
