// The fixed order of additions over ranks, ((x0+x1)+(x2+x3))+...: the left part of R ranks is the largest power of two below
// R, which is what a binary counter leaves behind. A fixed order makes floating-point sums equal on every backend.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.h"

namespace fmtrain {

/// Values that are already reduced over `ranks` consecutive ranks, a subtree of the whole; terms are in rank order.
struct Term {
  const void* data;
  int ranks;
  bool bf16 = false;  ///< the values are bf16, and are widened to the fp32 of the sums; of one rank
};

/// Every out[i] = tree over the terms' [i]. An out may be one of the terms' data. float, double, int64, int32; kSum = kTreeSum;
/// kMax keeps a NaN. Partial results stay in cache: memory sees each term read once and each out written once.
void tree_reduce(std::span<const Term> terms, std::span<void* const> outs, int64_t numel, at::ScalarType dtype, ReduceOp op);

/// A subtree of the ranks [0, size) that lies on one node, as large as possible.
struct Subtree {
  int first, count, node;
};
/// In rank order; together they hold every rank once, for any placement of ranks on nodes.
std::vector<Subtree> subtrees(const std::vector<int>& node_of_rank);

}  // namespace fmtrain
