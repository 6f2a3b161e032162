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

/// x: [m, dims], y: [n, dims], m and n >= 2. With 500 permutations the smallest p is 0.002.
MmdTest mmd_test(std::span<const float> x, std::span<const float> y, int64_t dims, int64_t permutations, uint64_t seed,
                 const Ranks& ranks = {});

/// MMD^2 of `splits` random splits of one sample [n, dims] into `part` rows and the others: how large the distance is without
/// drift. 2 <= part <= n - 2.
std::vector<double> mmd2_of_splits(std::span<const float> rows, int64_t dims, int64_t part, int64_t splits, double sigma,
                                   uint64_t seed, const Ranks& ranks = {});

// ---- the parts, each a function of its arguments alone --------------------------------------------------------------------

/// One column a split of a pool of n rows: 1 for the rows of the first part. [n, columns], fp64.
/// random_splits draws `part` of n rows without replacement, by a partial Fisher-Yates shuffle.
at::Tensor random_splits(int64_t n, int64_t part, int64_t columns, uint64_t seed);

/// The share of this rank: for each of its blocks the sum of k over all pairs, and for each split over the pairs with both rows
/// in the first part, and over the rows of the first part with all others. [all blocks, 1 + 2 columns], 0 for other ranks'
/// blocks.
at::Tensor kernel_sums(const PairDistances& distances, double sigma, const at::Tensor& splits);

/// MMD^2 of each split from all ranks' sums, added in the order of blocks. `part`: rows of the first part.
std::vector<double> mmd2_from_sums(const at::Tensor& sums, int64_t points, int64_t part);

}  // namespace fmtrain
