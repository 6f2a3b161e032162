// Squared Euclidean distances of all pairs of a pool of embeddings, in blocks that ranks divide among them.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "runtime/continual/ranks.h"

namespace fmtrain {

/// work(b) for the blocks [first, last), each by one thread, whatever their number and also where there is one block only: a
/// product that several threads share may round differently.
void each_by_one_thread(int64_t first, int64_t last, const std::function<void(int64_t)>& work);

/// Block (i, j), i <= j, holds the distances of the rows of tile i to those of tile j; a tile has kTile rows, the last one
/// fewer. Each pair of different rows stands in one place: on and below the diagonal of a block (i, i) there is -1.
/// Memory: 8 bytes a pair and rank, divided by the number of ranks; 144 MB for 6,000 rows on one.
class PairDistances {
 public:
  static constexpr int64_t kTile = 512;

  /// rows: [n, dims], n >= 2. Computes this rank's blocks in fp64. Equal rows are at distance 0.
  PairDistances(std::span<const float> rows, int64_t dims, const Ranks& ranks);

  int64_t points() const { return points_; }
  int64_t blocks() const;                   ///< of all ranks
  int64_t first() const { return first_; }  ///< this rank's are [first, last)
  int64_t last() const { return first_ + static_cast<int64_t>(mine_.size()); }
  std::pair<int64_t, int64_t> tiles(int64_t block) const;  ///< (i, j), in the order (0,0), (0,1), ..., (1,1), ...
  std::pair<int64_t, int64_t> rows(int64_t tile) const;    ///< its rows [begin, end)
  const at::Tensor& block(int64_t b) const { return mine_[static_cast<size_t>(b - first_)]; }  ///< [rows of i, rows of j], fp64

  /// Median over all pairs of the distance, not squared: the mean of the two middle ones of an even number, as numpy.median.
  double median(const Ranks& ranks) const;

 private:
  int64_t points_, tiles_, first_;
  std::vector<at::Tensor> mine_;
};

}  // namespace fmtrain
