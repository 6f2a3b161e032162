#include "runtime/continual/order_statistic.h"

#include <bit>

namespace fmtrain {
namespace {

constexpr int kDigit = 16;  ///< bits fixed by a pass

/// How many numbers begin with `prefix` (the bits above `shift + kDigit`), by their next digit.
std::vector<int64_t> digit_counts(const Pieces& mine, uint64_t prefix, int shift) {
  std::vector<int64_t> counts(size_t{1} << kDigit, 0);
  const int above = shift + kDigit;
  for (const auto piece : mine)
    for (const double value : piece) {
      const auto pattern = std::bit_cast<uint64_t>(value);
      const bool matches = value >= 0 && (above == 64 || pattern >> above == prefix);
      if (matches) ++counts[pattern >> shift & 0xFFFF];
    }
  return counts;
}

}  // namespace

double order_statistic(const Pieces& mine, int64_t k, const Ranks& ranks) {
  uint64_t prefix = 0;
  for (int shift = 64 - kDigit; shift >= 0; shift -= kDigit) {
    auto counts = digit_counts(mine, prefix, shift);
    ranks.add(counts);
    uint64_t digit = 0;
    while (digit + 1 < counts.size() && k >= counts[digit]) k -= counts[digit++];
    prefix = prefix << kDigit | digit;
  }
  return std::bit_cast<double>(prefix);
}

}  // namespace fmtrain
