#include "runtime/continual/near_duplicates.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "runtime/hash.h"

namespace fmtrain {
namespace {

constexpr size_t kFunctions = 64, kBands = 16, kBandRows = kFunctions / kBands, kBucket = 8;

using Signature = std::array<uint64_t, kFunctions>;

/// A permutation of 64-bit words for every odd `i` (finaliser of SplitMix64): hash function i of a triple's hash.
uint64_t mixed(uint64_t x, uint64_t i) {
  x += (2 * i + 1) * 0x9E3779B97F4A7C15;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
  x = (x ^ x >> 27) * 0x94D049BB133111EB;
  return x ^ x >> 31;
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> found(1);
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (!blank) found.back() += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    else if (!found.back().empty()) found.emplace_back();
  }
  if (found.back().empty()) found.pop_back();
  return found;
}

Signature signature(const std::string& text) {
  const auto all = words(text);
  Signature least;
  least.fill(UINT64_MAX);
  const size_t triples = all.size() < 3 ? 1 : all.size() - 2;
  for (size_t t = 0; t < triples; ++t) {
    std::string triple;
    for (size_t w = t; w < std::min(t + 3, all.size()); ++w) triple += all[w] + " ";
    const uint64_t hash = xxh3_64(triple.data(), triple.size());
    for (size_t i = 0; i < kFunctions; ++i) least[i] = std::min(least[i], mixed(hash, i));
  }
  return least;
}

uint64_t band_key(const Signature& signature, size_t band) {
  return mixed(xxh3_64(&signature[band * kBandRows], kBandRows * sizeof(uint64_t)), band);
}

double similarity(const Signature& a, const Signature& b) {
  size_t equal = 0;
  for (size_t i = 0; i < kFunctions; ++i) equal += a[i] == b[i];
  return static_cast<double>(equal) / kFunctions;
}

}  // namespace

std::vector<NearDuplicate> near_duplicates(const std::vector<std::string>& tests, const std::vector<std::string>& train,
                                           double least) {
  std::vector<Signature> signatures;
  std::unordered_map<uint64_t, std::vector<int64_t>> buckets;
  for (const auto& text : train) {
    const auto& s = signatures.emplace_back(signature(text));
    for (size_t band = 0; band < kBands; ++band) {
      auto& bucket = buckets[band_key(s, band)];
      if (bucket.size() < kBucket) bucket.push_back(static_cast<int64_t>(signatures.size()) - 1);
    }
  }
  std::vector<NearDuplicate> found;
  for (size_t t = 0; t < tests.size(); ++t) {
    const Signature s = signature(tests[t]);
    NearDuplicate best{static_cast<int64_t>(t), 0, 0};
    for (size_t band = 0; band < kBands; ++band) {
      const auto bucket = buckets.find(band_key(s, band));
      if (bucket == buckets.end()) continue;
      for (const int64_t other : bucket->second)
        if (const double like = similarity(s, signatures[static_cast<size_t>(other)]); like > best.similarity)
          best = {best.test, other, like};
    }
    if (best.similarity >= least) found.push_back(best);
  }
  return found;
}

}  // namespace fmtrain
