#include "runtime/continual/pair_distances.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "runtime/continual/order_statistic.h"
#include "runtime/data/plan.h"

namespace fmtrain {
namespace {

/// Below this share of |a|^2 + |b|^2 most digits of |a|^2 + |b|^2 - 2 a.b are lost: such pairs are measured coordinate by
/// coordinate, so equal rows are at distance 0.
constexpr double kNear = 1e-8;

double squared_distance(const double* a, const double* b, int64_t dims) {
  double sum = 0;
  for (int64_t d = 0; d < dims; ++d) sum += (a[d] - b[d]) * (a[d] - b[d]);
  return sum;
}

at::Tensor squared_distances(const at::Tensor& a, const at::Tensor& b) {
  auto distances = at::mm(a, b.t());
  const auto of_a = a.square().sum(1), of_b = b.square().sum(1);
  const auto *x = a.const_data_ptr<double>(), *y = b.const_data_ptr<double>();
  const auto *xx = of_a.const_data_ptr<double>(), *yy = of_b.const_data_ptr<double>();
  auto* d = distances.data_ptr<double>();
  const int64_t dims = a.size(1), rows = a.size(0), columns = b.size(0);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c, ++d) {
      const double both = xx[r] + yy[c];
      *d = both - 2 * *d;
      if (*d <= kNear * both) *d = squared_distance(x + r * dims, y + c * dims, dims);
    }
  return distances;
}

/// Of a pair (r, c) and (c, r) only the first is kept, and no row is paired with itself.
void keep_pairs_once(at::Tensor& square) { square.masked_fill_(at::ones_like(square, at::kBool).tril(), -1); }

}  // namespace

void each_by_one_thread(int64_t first, int64_t last, const std::function<void(int64_t)>& work) {
  // Of a range of one, parallel_for makes no region, and the operations inside would use all threads.
  at::parallel_for(first, std::max(last, first + 2), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < std::min(end, last); ++b) work(b);
  });
}

PairDistances::PairDistances(std::span<const float> rows_of_all, int64_t dims, const Ranks& ranks)
    : points_(static_cast<int64_t>(rows_of_all.size()) / dims), tiles_((points_ + kTile - 1) / kTile) {
  TORCH_CHECK(points_ >= 2, "a median needs two rows");
  const auto [first, last] = leaves_of(ranks.rank, ranks.size, blocks());
  first_ = first;
  const auto all = at::from_blob(const_cast<float*>(rows_of_all.data()), {points_, dims}, at::kFloat).to(at::kDouble);
  mine_.resize(static_cast<size_t>(last - first));
  each_by_one_thread(first, last, [&](int64_t b) {
    const auto [i, j] = tiles(b);
    const auto [i0, i1] = rows(i);
    const auto [j0, j1] = rows(j);
    auto distances = squared_distances(all.slice(0, i0, i1), all.slice(0, j0, j1));
    if (i == j) keep_pairs_once(distances);
    mine_[static_cast<size_t>(b - first_)] = distances;
  });
}

int64_t PairDistances::blocks() const { return tiles_ * (tiles_ + 1) / 2; }

std::pair<int64_t, int64_t> PairDistances::tiles(int64_t block) const {
  int64_t i = 0;
  for (; block >= tiles_ - i; ++i) block -= tiles_ - i;
  return {i, i + block};
}

std::pair<int64_t, int64_t> PairDistances::rows(int64_t tile) const {
  return {tile * kTile, std::min(points_, (tile + 1) * kTile)};
}

double PairDistances::median(const Ranks& ranks) const {
  Pieces pieces;
  for (const auto& block : mine_) pieces.emplace_back(block.const_data_ptr<double>(), static_cast<size_t>(block.numel()));
  const int64_t pairs = points_ * (points_ - 1) / 2;
  const auto middle = order_statistics(pieces, {(pairs - 1) / 2, pairs / 2}, ranks);
  return (std::sqrt(middle[0]) + std::sqrt(middle[1])) / 2;
}

}  // namespace fmtrain
