#include "runtime/continual/pair_distances.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "runtime/continual/order_statistic.h"
#include "runtime/data/plan.h"

namespace fmtrain {
namespace {

at::Tensor squared_distances(const at::Tensor& a, const at::Tensor& b) {
  auto d = at::mm(a, b.t()).mul_(-2);
  return d.add_(a.square().sum(1, true)).add_(b.square().sum(1)).clamp_min_(0);
}

/// Of a pair (r, c) and (c, r) only the first is kept, and no row is paired with itself.
void keep_pairs_once(at::Tensor& square) { square.masked_fill_(at::ones_like(square, at::kBool).tril(), -1); }

}  // namespace

PairDistances::PairDistances(std::span<const float> rows_of_all, int64_t dims, const Ranks& ranks)
    : points_(static_cast<int64_t>(rows_of_all.size()) / dims), tiles_((points_ + kTile - 1) / kTile) {
  TORCH_CHECK(points_ >= 2, "a median needs two rows");
  const auto [first, last] = leaves_of(ranks.rank, ranks.size, blocks());
  first_ = first;
  const auto all = at::from_blob(const_cast<float*>(rows_of_all.data()), {points_, dims}, at::kFloat).to(at::kDouble);
  mine_.resize(static_cast<size_t>(last - first));
  // A block is computed by one thread, whatever their number: a product that several share may round differently.
  at::parallel_for(first, last, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const auto [i, j] = tiles(b);
      const auto [i0, i1] = rows(i);
      const auto [j0, j1] = rows(j);
      auto distances = squared_distances(all.slice(0, i0, i1), all.slice(0, j0, j1));
      if (i == j) keep_pairs_once(distances);
      mine_[static_cast<size_t>(b - first_)] = distances;
    }
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
  const double upper = std::sqrt(order_statistic(pieces, pairs / 2, ranks));
  return pairs % 2 ? upper : (std::sqrt(order_statistic(pieces, pairs / 2 - 1, ranks)) + upper) / 2;
}

}  // namespace fmtrain
