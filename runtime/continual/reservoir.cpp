#include "runtime/continual/reservoir.h"

#include <algorithm>
#include <map>
#include <utility>

#include "runtime/hash.h"

namespace fmtrain {
namespace {

using HashedStratum = std::vector<std::pair<uint64_t, const Example*>>;  ///< with keyed hashes

/// Rounded down also before 1970.
int64_t period_of(int64_t time, int64_t period) { return time / period - (time % period < 0); }

uint64_t keyed_hash(const Example& example, uint64_t seed) {
  const std::string text = std::to_string(seed) + ":" + example.hash;
  return xxh3_64(text.data(), text.size());
}

/// Equal keyed hashes of different examples: by content, for the order of memory is none.
void keep_smallest(HashedStratum& stratum, int64_t count) {
  std::sort(stratum.begin(), stratum.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second->hash < b.second->hash;
  });
  if (static_cast<int64_t>(stratum.size()) > count) stratum.resize(static_cast<size_t>(count));
}

/// Largest q with sum of min(size, q) <= capacity; INT64_MAX where all fit.
int64_t largest_quota(const std::vector<int64_t>& sizes, int64_t capacity) {
  const auto fits = [&](int64_t q) {
    int64_t sum = 0;
    for (const int64_t size : sizes) sum += std::min(size, q);
    return sum <= capacity;
  };
  if (fits(INT64_MAX)) return INT64_MAX;
  int64_t low = 0, high = *std::max_element(sizes.begin(), sizes.end());
  while (low < high) {
    const int64_t middle = low + (high - low + 1) / 2;
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

}  // namespace

Reservoir add_to_reservoir(const Reservoir& before, const std::vector<Example>& fresh, const ReservoirOptions& options) {
  auto examples = before.examples;
  examples.insert(examples.end(), fresh.begin(), fresh.end());
  const auto all = unique_examples(std::move(examples));
  std::map<std::pair<int32_t, int64_t>, HashedStratum> strata;
  for (const auto& e : all) strata[{e.klass, period_of(e.time, options.period)}].emplace_back(keyed_hash(e, options.seed), &e);
  std::vector<int64_t> sizes;
  for (const auto& [key, stratum] : strata) sizes.push_back(static_cast<int64_t>(stratum.size()));
  Reservoir kept{{}, std::min(before.quota, largest_quota(sizes, options.capacity))};
  HashedStratum chosen;
  for (auto& [key, stratum] : strata) {
    keep_smallest(stratum, std::max<int64_t>(kept.quota, 1));
    chosen.insert(chosen.end(), stratum.begin(), stratum.end());
  }
  if (kept.quota == 0) keep_smallest(chosen, options.capacity);
  for (const auto& [keyed, example] : chosen) kept.examples.push_back(*example);
  kept.examples = unique_examples(std::move(kept.examples));
  return kept;
}

}  // namespace fmtrain
