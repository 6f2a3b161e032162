#include "runtime/continual/order_statistic.h"

#include <algorithm>
#include <bit>

namespace fmtrain {
namespace {

constexpr int kDigit = 16;  ///< bits fixed by a pass
constexpr size_t kDigitValues = size_t{1} << kDigit;

/// Adds how many numbers begin with `prefix`, the bits above `shift` without the next digit, by that digit. A negative number
/// has the first digit 0x8000 or more.
void count_digits(const Pieces& mine, uint64_t prefix, int shift, int64_t* counts) {
  for (const auto piece : mine)
    for (const double value : piece) {
      const uint64_t digit = (std::bit_cast<uint64_t>(value) >> shift) - (prefix << kDigit);
      if (digit < kDigitValues) ++counts[digit];
    }
}

/// A number whose bits are known from above.
struct Search {
  int64_t k = 0;  ///< its place among those that begin with `prefix`
  uint64_t prefix = 0;
  void descend(const int64_t* counts) {
    uint64_t digit = 0;
    while (digit + 1 < kDigitValues && k >= counts[digit]) k -= counts[digit++];
    prefix = prefix << kDigit | digit;
  }
};

}  // namespace

std::vector<double> order_statistics(const Pieces& mine, const std::vector<int64_t>& ks, const Ranks& ranks) {
  std::vector<Search> searches;
  for (const auto k : ks) searches.push_back({k, 0});
  for (int shift = 64 - kDigit; shift >= 0; shift -= kDigit) {
    std::vector<uint64_t> prefixes;
    for (const auto& search : searches)
      if (std::count(prefixes.begin(), prefixes.end(), search.prefix) == 0) prefixes.push_back(search.prefix);
    std::vector<int64_t> counts(prefixes.size() * kDigitValues, 0);
    for (size_t p = 0; p < prefixes.size(); ++p) count_digits(mine, prefixes[p], shift, counts.data() + p * kDigitValues);
    if (shift == 64 - kDigit) std::fill(counts.begin() + kDigitValues / 2, counts.end(), 0);  // marks
    ranks.add(counts);
    for (auto& search : searches) {
      const auto at = std::find(prefixes.begin(), prefixes.end(), search.prefix) - prefixes.begin();
      search.descend(counts.data() + static_cast<size_t>(at) * kDigitValues);
    }
  }
  std::vector<double> values;
  for (const auto& search : searches) values.push_back(std::bit_cast<double>(search.prefix));
  return values;
}

}  // namespace fmtrain
