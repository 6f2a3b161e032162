#include "comm/tree_reduce.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace fmtrain {
namespace {

/// Elements combined at a time, so that all partial sums of a block stay in the first-level cache.
constexpr int64_t kBlock = 1024;

/// Ranks in the left branch of a tree over `count` >= 2.
int left_of(int count) { return static_cast<int>(std::bit_floor(static_cast<unsigned>(count - 1))); }

template <class T>
T larger(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (std::isnan(b)) return b;
  return a < b ? b : a;  // a NaN in a stays: the comparison is false
}

template <class T>
void combine(const T* a, const T* b, T* out, int64_t n, ReduceOp op) {
  if (op == ReduceOp::kMax) {
    for (int64_t i = 0; i < n; ++i) out[i] = larger(a[i], b[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
  }
}

/// Exact: bf16 is the upper half of fp32.
template <class T>
const T* widened(const void* data, int64_t at, int64_t n, T* out) {
  if constexpr (std::is_same_v<T, float>) {
    const auto* values = static_cast<const uint16_t*>(data) + at;
    for (int64_t i = 0; i < n; ++i) out[i] = std::bit_cast<float>(static_cast<uint32_t>(values[i]) << 16);
  }
  return out;
}

/// One block of the tree.
template <class T>
struct TreeBlock {
  std::span<const Term> terms;
  int64_t at, n;
  ReduceOp op;
  T* scratch;  ///< kBlock elements a level
  size_t next = 0;

  /// The values of the next `count` ranks: a term's own memory, or scratch of this level.
  const T* value(int count, int level) {
    TORCH_CHECK(next < terms.size() && terms[next].ranks <= count, "terms do not fit the tree");
    T* out = scratch + level * kBlock;
    if (terms[next].ranks == count) {
      const Term& term = terms[next++];
      return term.bf16 ? widened(term.data, at, n, out) : static_cast<const T*>(term.data) + at;
    }
    const int left = left_of(count);
    const T* a = value(left, level);
    const T* b = value(count - left, level + 1);
    combine(a, b, out, n, op);
    return out;
  }
};

template <class T>
void reduce(std::span<const Term> terms, std::span<void* const> outs, int64_t numel, ReduceOp op) {
  int ranks = 0;
  for (const auto& term : terms) ranks += term.ranks;
  const auto levels = static_cast<size_t>(std::bit_width(static_cast<unsigned>(ranks)) + 1);
  at::parallel_for(0, numel, 64 * kBlock, [&](int64_t first, int64_t last) {
    std::vector<T> scratch(levels * kBlock);
    for (int64_t at = first; at < last; at += kBlock) {
      TreeBlock<T> block{terms, at, std::min(kBlock, last - at), op, scratch.data()};
      const T* result = block.value(ranks, 0);
      for (void* out : outs)
        if (static_cast<T*>(out) + at != result) std::memcpy(static_cast<T*>(out) + at, result, static_cast<size_t>(block.n) * sizeof(T));
    }
  });
}

void split(int first, int count, const std::vector<int>& node_of_rank, std::vector<Subtree>& result) {
  const auto begin = node_of_rank.begin() + first;
  if (std::all_of(begin, begin + count, [&](int node) { return node == *begin; })) {
    result.push_back({first, count, *begin});
    return;
  }
  const int left = left_of(count);
  split(first, left, node_of_rank, result);
  split(first + left, count - left, node_of_rank, result);
}

}  // namespace

void tree_reduce(std::span<const Term> terms, std::span<void* const> outs, int64_t numel, at::ScalarType dtype, ReduceOp op) {
  TORCH_CHECK(dtype == at::kFloat || std::none_of(terms.begin(), terms.end(), [](const Term& t) { return t.bf16; }), "bf16 sums up to fp32 only");
  switch (dtype) {
    case at::kFloat: return reduce<float>(terms, outs, numel, op);
    case at::kDouble: return reduce<double>(terms, outs, numel, op);
    case at::kLong: return reduce<int64_t>(terms, outs, numel, op);
    case at::kInt: return reduce<int32_t>(terms, outs, numel, op);
    default: TORCH_CHECK(false, "no reduction for ", dtype);
  }
}

std::vector<Subtree> subtrees(const std::vector<int>& node_of_rank) {
  std::vector<Subtree> result;
  split(0, static_cast<int>(node_of_rank.size()), node_of_rank, result);
  return result;
}

}  // namespace fmtrain
