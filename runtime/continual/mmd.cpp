#include "runtime/continual/mmd.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>

#include "runtime/draws.h"

namespace fmtrain {
namespace {

constexpr uint32_t kPurpose = 0x6d6d6430;  // "mmd0"

/// exp(-d2 / (2 sigma^2)), 0 where there is no pair (d2 < 0). sigma 0 (most pairs are duplicates) is the limit: equal or not.
at::Tensor kernel(const at::Tensor& d2, double sigma) {
  const auto pair = d2.ge(0);
  const auto k = sigma > 0 ? d2.mul(-0.5 / (sigma * sigma)).exp_() : d2.eq(0).to(at::kDouble);
  return k.mul_(pair);
}

/// A row of kernel_sums: S = sum of k, then z' K z and z' (K + K') 1 for each column z; K holds each pair once.
void add_block(const at::Tensor& k, const at::Tensor& zi, const at::Tensor& zj, at::Tensor sums) {
  const int64_t columns = zi.size(1);
  const auto of_rows = k.sum(1);  // and then their sum: ATen adds up a whole matrix in an order that depends on its threads
  sums[0].copy_(of_rows.sum());
  sums.slice(0, 1, 1 + columns).copy_(at::mm(k, zj).mul_(zi).sum(0));
  sums.slice(0, 1 + columns).copy_(at::mv(zi.t(), of_rows).add_(at::mv(zj.t(), k.sum(0))));
}

std::vector<double> mmd2(const PairDistances& distances, double sigma, const at::Tensor& splits, int64_t part,
                         const Ranks& ranks) {
  auto sums = kernel_sums(distances, sigma, splits);
  ranks.collect({sums.data_ptr<double>(), static_cast<size_t>(sums.numel())});
  return mmd2_from_sums(sums, distances.points(), part);
}

}  // namespace

at::Tensor random_splits(int64_t n, int64_t part, int64_t columns, uint64_t seed) {
  auto splits = at::zeros({n, columns}, at::kDouble);
  auto* z = splits.data_ptr<double>();
  std::vector<int64_t> rows(static_cast<size_t>(n));
  for (int64_t c = 0; c < columns; ++c) {
    Draws draws(seed, kPurpose, static_cast<uint64_t>(c));
    std::iota(rows.begin(), rows.end(), 0);
    for (int64_t i = 0; i < part; ++i) {
      const auto at = static_cast<uint64_t>(i);
      std::swap(rows[at], rows[at + draws.below(at, static_cast<uint64_t>(n - i))]);
      z[rows[at] * columns + c] = 1;
    }
  }
  return splits;
}

at::Tensor kernel_sums(const PairDistances& distances, double sigma, const at::Tensor& splits) {
  auto sums = at::zeros({distances.blocks(), 1 + 2 * splits.size(1)}, at::kDouble);
  at::parallel_for(distances.first(), distances.last(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const auto [i, j] = distances.tiles(b);
      const auto [i0, i1] = distances.rows(i);
      const auto [j0, j1] = distances.rows(j);
      add_block(kernel(distances.block(b), sigma), splits.slice(0, i0, i1), splits.slice(0, j0, j1), sums[b]);
    }
  });
  return sums;
}

std::vector<double> mmd2_from_sums(const at::Tensor& sums, int64_t points, int64_t part) {
  const int64_t columns = (sums.size(1) - 1) / 2;
  std::vector<double> total(static_cast<size_t>(sums.size(1)), 0.0);
  const auto* row = sums.const_data_ptr<double>();
  for (int64_t b = 0; b < sums.size(0); ++b)
    for (auto& sum : total) sum += *row++;
  const auto m = static_cast<double>(part), n = static_cast<double>(points - part);
  std::vector<double> values;
  for (int64_t c = 0; c < columns; ++c) {
    const double within = total[static_cast<size_t>(1 + c)], touching = total[static_cast<size_t>(1 + columns + c)];
    const double across = touching - 2 * within, others = total[0] - touching + within;
    values.push_back(2 * within / (m * (m - 1)) + 2 * others / (n * (n - 1)) - 2 * across / (m * n));
  }
  return values;
}

MmdTest mmd_test(std::span<const float> x, std::span<const float> y, int64_t dims, int64_t permutations, uint64_t seed,
                 const Ranks& ranks) {
  std::vector<float> pool(x.begin(), x.end());
  pool.insert(pool.end(), y.begin(), y.end());
  const PairDistances distances(pool, dims, ranks);
  const int64_t part = static_cast<int64_t>(x.size()) / dims;
  auto observed = at::zeros({distances.points(), 1}, at::kDouble);
  observed.slice(0, 0, part).fill_(1);
  const auto splits = at::cat({observed, random_splits(distances.points(), part, permutations, seed)}, 1);
  const double sigma = distances.median(ranks);
  const auto values = mmd2(distances, sigma, splits, part, ranks);
  const auto as_large = std::count_if(values.begin() + 1, values.end(), [&](double v) { return v >= values[0]; });
  return {values[0], static_cast<double>(1 + as_large) / static_cast<double>(permutations + 1), sigma};
}

std::vector<double> mmd2_of_splits(std::span<const float> rows, int64_t dims, int64_t part, int64_t splits, double sigma,
                                   uint64_t seed, const Ranks& ranks) {
  const PairDistances distances(rows, dims, ranks);
  return mmd2(distances, sigma, random_splits(distances.points(), part, splits, seed), part, ranks);
}

}  // namespace fmtrain
