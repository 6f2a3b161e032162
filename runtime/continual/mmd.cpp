#include "runtime/continual/mmd.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>

#include "runtime/draws.h"

namespace fmtrain {
namespace {

constexpr uint32_t kMmdPurpose = 0x6d6d6430;  // "mmd0"

/// exp(-d2 / (2 sigma^2)), contiguous. sigma 0 (most pairs are duplicates) is the limit: equal or not. `marks`: some places hold
/// no pair (d2 < 0), which becomes 0.
at::Tensor kernel(const at::Tensor& d2, double sigma, bool marks) {
  const auto k = sigma > 0 ? at::mul(d2, -0.5 / (sigma * sigma)).contiguous().exp_() : d2.eq(0).to(at::kDouble).contiguous();
  return marks ? k.mul_(d2.ge(0)) : k;
}

double sum_at(const double* row, std::span<const int32_t> columns, int64_t first) {
  double sums[4] = {};  // four, for an addition waits for the one before it
  size_t i = 0;
  for (; i + 4 <= columns.size(); i += 4)
    for (size_t u = 0; u < 4; ++u) sums[u] += row[columns[i + u] - first];
  for (; i < columns.size(); ++i) sums[0] += row[columns[i] - first];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/// Splits, and by row those that name it.
class Named {
 public:
  explicit Named(const Splits& splits) : splits_(splits), by_row_(static_cast<size_t>(splits.points)) {
    for (size_t s = 0; s < splits.named.size(); ++s)
      for (const auto row : splits.named[s]) by_row_[static_cast<size_t>(row)].push_back(static_cast<int32_t>(s));
  }
  size_t count() const { return splits_.named.size(); }
  std::span<const int32_t> naming(int64_t row) const { return by_row_[static_cast<size_t>(row)]; }
  /// The rows in [begin, end) that split s names.
  std::span<const int32_t> rows(size_t s, int64_t begin, int64_t end) const {
    const auto& all = splits_.named[s];
    const auto first = std::lower_bound(all.begin(), all.end(), begin), last = std::lower_bound(first, all.end(), end);
    return {first, last};
  }

 private:
  const Splits& splits_;
  std::vector<std::vector<int32_t>> by_row_;
};

/// Writes a row of kernel_sums. `k` holds the pairs of the rows from `first_row` on with those from `first_column` on, each once.
void add_block(const at::Tensor& k, int64_t first_row, int64_t first_column, const Named& named, double* sums) {
  const auto row_sums = k.sum(1), column_sums = k.sum(0);
  sums[0] = row_sums.sum().item<double>();  // ATen adds up a whole matrix in an order that depends on its threads
  double *within = sums + 1, *touching = within + named.count();
  std::vector<std::span<const int32_t>> columns;
  for (size_t s = 0; s < named.count(); ++s) {
    const auto rows = named.rows(s, first_row, first_row + k.size(0));
    columns.push_back(named.rows(s, first_column, first_column + k.size(1)));
    touching[s] = sum_at(row_sums.const_data_ptr<double>(), rows, first_row) +
                  sum_at(column_sums.const_data_ptr<double>(), columns[s], first_column);
  }
  // Rows outside, splits inside: a row stays in the cache for all its splits.
  for (int64_t r = 0; r < k.size(0); ++r)
    for (const auto s : named.naming(first_row + r))
      within[s] += sum_at(k.const_data_ptr<double>() + r * k.size(1), columns[static_cast<size_t>(s)], first_column);
}

std::vector<double> mmd2(const PairDistances& pool, double sigma, const Splits& splits, const Ranks& ranks) {
  auto sums = kernel_sums(pool, sigma, splits);
  ranks.collect(sums);
  return mmd2_from_sums(sums, splits);
}

}  // namespace

Splits random_splits(int64_t points, int64_t part, int64_t count, uint64_t seed) {
  Splits splits{points, std::min(part, points - part), {}};
  std::vector<int32_t> rows(static_cast<size_t>(points));
  for (int64_t c = 0; c < count; ++c) {
    Draws draws(seed, kMmdPurpose, static_cast<uint64_t>(c));
    std::iota(rows.begin(), rows.end(), 0);
    for (int64_t i = 0; i < splits.part; ++i) {
      const auto at = static_cast<uint64_t>(i);
      std::swap(rows[at], rows[at + draws.below(at, static_cast<uint64_t>(points - i))]);
    }
    auto& named = splits.named.emplace_back(rows.begin(), rows.begin() + splits.part);
    std::sort(named.begin(), named.end());
  }
  return splits;
}

std::vector<double> kernel_sums(const PairDistances& pool, double sigma, const Splits& splits) {
  const Named named(splits);
  const size_t width = 1 + 2 * splits.named.size();
  std::vector<double> sums(static_cast<size_t>(pool.blocks()) * width, 0.0);
  each_by_one_thread(pool.first(), pool.last(), [&](int64_t b) {
    const auto [i, j] = pool.tiles(b);
    const int64_t first_row = pool.rows(i).first, first_column = pool.rows(j).first;
    const int64_t rows = std::min(pool.rows(i).second, splits.points) - first_row;
    const int64_t columns = std::min(pool.rows(j).second, splits.points) - first_column;
    if (rows <= 0 || columns <= 0) return;
    const auto k = kernel(pool.block(b).slice(0, 0, rows).slice(1, 0, columns), sigma, i == j);
    add_block(k, first_row, first_column, named, sums.data() + static_cast<size_t>(b) * width);
  });
  return sums;
}

std::vector<double> mmd2_from_sums(std::span<const double> sums, const Splits& splits) {
  const size_t columns = splits.named.size(), width = 1 + 2 * columns;
  std::vector<double> total(width, 0.0);
  for (size_t i = 0; i < sums.size(); ++i) total[i % width] += sums[i];
  const auto m = static_cast<double>(splits.part), n = static_cast<double>(splits.points - splits.part);
  std::vector<double> values;
  for (size_t c = 0; c < columns; ++c) {
    const double within = total[1 + c], touching = total[1 + columns + c];
    const double across = touching - 2 * within, others = total[0] - touching + within;
    values.push_back(2 * within / (m * (m - 1)) + 2 * others / (n * (n - 1)) - 2 * across / (m * n));
  }
  return values;
}

PairDistances pool_of(std::span<const float> x, std::span<const float> y, int64_t dims, const Ranks& ranks) {
  std::vector<float> pool(x.begin(), x.end());
  pool.insert(pool.end(), y.begin(), y.end());
  return PairDistances(pool, dims, ranks);
}

MmdTest mmd_test(const PairDistances& pool, int64_t m, int64_t permutations, uint64_t seed, const Ranks& ranks) {
  auto splits = random_splits(pool.points(), m, permutations, seed);
  std::vector<int32_t> observed(static_cast<size_t>(splits.part));
  std::iota(observed.begin(), observed.end(), splits.part == m ? 0 : static_cast<int32_t>(m));
  splits.named.insert(splits.named.begin(), observed);
  const double sigma = pool.median(ranks);
  const auto values = mmd2(pool, sigma, splits, ranks);
  const auto as_large = std::count_if(values.begin() + 1, values.end(), [&](double v) { return v >= values[0]; });
  return {values[0], static_cast<double>(1 + as_large) / static_cast<double>(permutations + 1), sigma};
}

MmdTest mmd_test(std::span<const float> x, std::span<const float> y, int64_t dims, int64_t permutations, uint64_t seed,
                 const Ranks& ranks) {
  return mmd_test(pool_of(x, y, dims, ranks), static_cast<int64_t>(x.size()) / dims, permutations, seed, ranks);
}

std::vector<double> mmd2_of_splits(const PairDistances& pool, int64_t m, int64_t part, int64_t count, double sigma,
                                   uint64_t seed, const Ranks& ranks) {
  return mmd2(pool, sigma, random_splits(m, part, count, seed), ranks);
}

}  // namespace fmtrain
