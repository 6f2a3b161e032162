// Maximum mean discrepancy of two samples (Gretton et al., "A kernel two-sample test", JMLR 13, 2012) with its permutation
// test: the decision of `fmtrain continual check`, for it kept its level and found shifts best among the tests that were
// measured.
//
//   MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean k(x_i, y_j)
//   k(a, b) = exp(-|a - b|^2 / (2 sigma^2))
//
// Unbiased: without drift its mean is 0, and it may be negative.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/continual/pair_distances.h"
#include "runtime/continual/ranks.h"

namespace fmtrain {

struct MmdTest {
  double mmd2 = 0;
  double p = 1;      ///< (1 + permutations with at least this MMD^2) / (permutations + 1)
  double sigma = 0;  ///< median distance of all pairs of the pool of both samples
};

/// Distances of the pool of x [m, dims] and y [n, dims], in this order; m and n >= 2. Most of a test's time goes into them.
PairDistances pool_of(std::span<const float> x, std::span<const float> y, int64_t dims, const Ranks& ranks = {});

/// Of the first `m` rows of a pool and the others. With 500 permutations the smallest p is 0.002.
MmdTest mmd_test(const PairDistances& pool, int64_t m, int64_t permutations, uint64_t seed, const Ranks& ranks = {});
MmdTest mmd_test(std::span<const float> x, std::span<const float> y, int64_t dims, int64_t permutations, uint64_t seed,
                 const Ranks& ranks = {});

/// MMD^2 of `count` random splits of the first `m` rows of a pool into `part` of them and the others: how large the distance is
/// without drift. 2 <= part <= m - 2.
std::vector<double> mmd2_of_splits(const PairDistances& pool, int64_t m, int64_t part, int64_t count, double sigma,
                                   uint64_t seed, const Ranks& ranks = {});

// ---- the parts, each a function of its arguments alone --------------------------------------------------------------------

/// Splits of the first `points` rows of a pool into two parts, of which one is named. MMD^2 is the same whichever it is; the
/// work grows with the square of its size.
struct Splits {
  int64_t points = 0, part = 0;             ///< rows; of the named part
  std::vector<std::vector<int32_t>> named;  ///< of each split the rows of that part, ascending
};

/// `count` draws of `part` rows without replacement, each by a partial Fisher-Yates shuffle, or where that is less, of the rows
/// of the other part.
Splits random_splits(int64_t points, int64_t part, int64_t count, uint64_t seed);

/// The share of this rank: for each of its blocks the sum of k over all pairs of the first `points` rows, then for each split
/// the sum over the pairs with both rows in the named part, then for each split that over the rows of the named part with all
/// others. [all blocks, 1 + 2 splits], 0 for other ranks' blocks. Sums run in an order that depends on nothing but the rows.
std::vector<double> kernel_sums(const PairDistances& pool, double sigma, const Splits& splits);

/// MMD^2 of each split from all ranks' sums, added in the order of blocks.
std::vector<double> mmd2_from_sums(std::span<const double> sums, const Splits& splits);

}  // namespace fmtrain
