#include "runtime/engine/leaf_sum.h"

#include <ATen/ATen.h>

#include <bit>

#include "runtime/ledger.h"

namespace fmtrain {
namespace {

/// to += gradient. Of a sparse one, the entries of one row are summed first, as they are in a dense gradient.
void accumulate(at::Tensor to, const at::Tensor& gradient) {
  if (!gradient.is_sparse()) {
    to.add_(gradient);
    return;
  }
  const auto rows = gradient.coalesce();
  to.index_add_(0, rows.indices()[0], rows.values());
}

void put(at::Tensor to, const at::Tensor& gradient) {
  if (gradient.is_sparse()) accumulate(to.zero_(), gradient);
  else to.copy_(gradient);
}

}  // namespace

LeafSum::LeafSum(const FlatLayout& layout, at::Tensor result, bool exact)
    : layout_(layout), exact_(exact), buffers_{std::move(result)}, seen_(layout.tensors.size(), false) {}

void LeafSum::begin(int64_t leaves, size_t first) {
  leaf_ = 0;
  leaves_ = leaves;
  first_ = first;
  if (leaves == 0) buffers_[0].slice(0, layout_.tensors[first].offset).fill_(-0.0);
}

at::Tensor LeafSum::part(size_t buffer, size_t tensor) {
  const Booking booking(Purpose::kGradients);
  while (buffer >= buffers_.size()) buffers_.push_back(at::zeros_like(buffers_[0]));
  const auto& place = layout_.tensors[tensor];
  return buffers_[buffer].narrow(0, place.offset, place.numel).view(place.shape);
}

void LeafSum::add(size_t tensor, const at::Tensor& gradient) {
  TORCH_CHECK(!seen_[tensor], layout_.tensors[tensor].name, " received two gradients in one leaf");
  seen_[tensor] = true;
  const auto count = static_cast<uint64_t>(leaf_);
  auto depth = static_cast<size_t>(exact_ ? std::popcount(count) : count > 0);  // partial sums held before this leaf
  auto merges = exact_ ? static_cast<size_t>(std::countr_one(count)) : depth;  // carries of the binary counter
  if (last_leaf()) merges = depth;                                             // and at the end everything folds into one
  if (merges == 0) {
    put(part(depth, tensor), gradient);
    return;
  }
  accumulate(part(depth - 1, tensor), gradient);
  for (--depth, --merges; merges > 0; --depth, --merges) part(depth - 1, tensor).add_(part(depth, tensor));
}

void LeafSum::finish_leaf() {
  for (size_t i = first_; i < seen_.size(); ++i)
    if (!seen_[i]) add(i, at::zeros({}, buffers_[0].options()).expand(layout_.tensors[i].shape));
  seen_.assign(seen_.size(), false);
  ++leaf_;
}

}  // namespace fmtrain
