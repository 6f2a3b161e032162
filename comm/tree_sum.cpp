#include "comm/tree_sum.h"

#include <torch/torch.h>

namespace fmtrain {
namespace {

/// Elements added at a time, so that the partial sums stay in cache.
constexpr int64_t kBlock = 16 * 1024;

at::Tensor sum_of(const std::vector<at::Tensor>& pieces, size_t first, size_t count) {
  if (count == 1) return pieces[first];
  size_t left = 1;
  while (left * 2 < count) left *= 2;
  return sum_of(pieces, first, left) + sum_of(pieces, first + left, count - left);
}

}  // namespace

void tree_sum(const std::vector<at::Tensor>& pieces, at::Tensor out) {
  if (pieces.size() == 2) {
    at::add_out(out, pieces[0], pieces[1]);
    return;
  }
  for (int64_t at = 0; at < out.numel(); at += kBlock) {
    const int64_t n = std::min(kBlock, out.numel() - at);
    std::vector<at::Tensor> parts;
    for (const auto& p : pieces) parts.push_back(p.narrow(0, at, n));
    out.narrow(0, at, n).copy_(sum_of(parts, 0, parts.size()));
  }
}

}  // namespace fmtrain
