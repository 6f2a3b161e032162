#include "runtime/metrics/bootstrap.h"

#include <algorithm>

#include "runtime/draws.h"
#include "runtime/percentile.h"

namespace fmtrain {
namespace {

constexpr uint32_t kPurpose = 0x626f6f74;  // "boot": not a stream that training uses

/// Index i of resample b: 64 random bits scaled to [0, texts).
void draw(std::vector<int64_t>& drawn, uint64_t resample, uint64_t seed) {
  Draws draws(seed, kPurpose, resample);
  for (size_t i = 0; i < drawn.size(); ++i) drawn[i] = static_cast<int64_t>(draws.below(i, drawn.size()));
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
