// Values whose sums tell the order of additions, and that order.
#pragma once
#include <ATen/ATen.h>

#include <cstring>
#include <vector>

namespace fmtrain {

/// Of no order but one the same: magnitudes from 2^-20 to 2^20.
inline at::Tensor reals(int rank, int64_t numel, at::ScalarType dtype) {
  const auto i = at::arange(numel, at::kDouble);
  return (at::sin(i * 12.9898 + rank * 78.233) * at::exp2(at::remainder(i + 7 * rank, 41) - 20)).to(dtype);
}

/// The documented order, written down once more: left part = the largest power of two below the number of ranks.
inline at::Tensor documented_tree(const std::vector<at::Tensor>& x, size_t first, size_t count) {
  if (count == 1) return x[first];
  size_t left = 1;
  while (2 * left < count) left *= 2;
  return documented_tree(x, first, left) + documented_tree(x, first + left, count - left);
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  const auto x = a.cpu().contiguous(), y = b.cpu().contiguous();
  return x.nbytes() == y.nbytes() && x.scalar_type() == y.scalar_type() && (x.nbytes() == 0 || std::memcmp(x.data_ptr(), y.data_ptr(), x.nbytes()) == 0);
}

}  // namespace fmtrain
