#include "runtime/engine/leaf_sum.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <bit>

#include "models/ops/kernels.h"
#include "runtime/ledger.h"

namespace fmtrain {
namespace {

/// Elements one thread takes at a time.
constexpr int64_t kSumGrain = 64 * 1024;

/// to (+)= from in one pass, whatever type widens to fp32; the rare shapes and a GPU are left to ATen.
void combine(const at::Tensor& to, const at::Tensor& from, bool adds) {
  const bool plain = to.is_cpu() && from.is_cpu() && from.is_contiguous() && from.numel() == to.numel();
  const auto run = [&]<class A>(const A* values) {
    const auto& kernels = kernels_of<A>();
    at::parallel_for(0, to.numel(), kSumGrain, [&, target = to.data_ptr<float>()](int64_t first, int64_t last) {
      (adds ? kernels.add_to_sums : kernels.put_in_sums)(values + first, last - first, target + first);
    });
  };
  if (plain && from.scalar_type() == at::kFloat) run(from.const_data_ptr<float>());
  else if (plain && from.scalar_type() == at::kBFloat16) run(static_cast<const Bf16*>(from.const_data_ptr()));
  else if (adds) to.add_(from);
  else to.copy_(from);
}

/// to += gradient. Of a sparse one, the entries of one row are summed first, as they are in a dense gradient.
void accumulate(const at::Tensor& to, const at::Tensor& gradient) {
  if (!gradient.is_sparse()) return combine(to, gradient, true);
  const auto rows = gradient.to(at::kFloat).coalesce();
  to.index_add_(0, rows.indices()[0], rows.values());
}

void put(const at::Tensor& to, const at::Tensor& gradient) {
  if (gradient.is_sparse()) accumulate(to.zero_(), gradient);
  else combine(to, gradient, false);
}

}  // namespace

LeafSum::LeafSum(const FlatLayout& layout, at::Tensor result, bool exact, const std::optional<Table>& table)
    : layout_(layout), exact_(exact), table_(table), buffers_{std::move(result)}, touched_(1), seen_(layout.tensors.size(), false) {
  if (!table_) return;
  touched_[0] = RowSet(table_->rows);
  touched_[0].insert_all();
}

void LeafSum::begin(int64_t leaves, size_t first) {
  leaf_ = 0;
  leaves_ = leaves;
  first_ = first;
  if (leaves > 0) return;
  for (size_t t = first; t < layout_.tensors.size(); ++t)
    if (is_table(t)) clear_rows(0);
    else part(0, t).fill_(-0.0);
}

at::Tensor LeafSum::part(size_t buffer, size_t tensor) {
  const Booking booking(Purpose::kGradients);
  while (buffer >= buffers_.size()) {
    buffers_.push_back(at::zeros_like(buffers_[0]));
    touched_.emplace_back(table_ ? table_->rows : 0);
  }
  const auto& place = layout_.tensors[tensor];
  return buffers_[buffer].narrow(0, place.offset, place.numel).view(place.shape);
}

void LeafSum::clear_rows(size_t buffer) {
  auto* values = part(buffer, table_->tensor).data_ptr<float>();
  for (const int64_t row : touched_[buffer].list()) std::fill_n(values + row * table_->columns, table_->columns, 0.0f);
  touched_[buffer].clear();
}

void LeafSum::add_rows(size_t buffer, const at::Tensor* gradient) {
  if (!gradient) return;
  const auto to = part(buffer, table_->tensor);
  if (!gradient->is_sparse()) {
    touched_[buffer].insert_all();
    return combine(to, *gradient, true);
  }
  const auto list = gradient->to(at::kFloat).coalesce();
  const auto indices = list.indices()[0].contiguous(), values = list.values().contiguous();
  const auto* rows = indices.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < indices.numel(); ++i) {
    kernels().fp32.add_to_sums(values.const_data_ptr<float>() + i * table_->columns, table_->columns, to.data_ptr<float>() + rows[i] * table_->columns);
    touched_[buffer].insert(rows[i]);
  }
}

/// Adds what a buffer has to the one before it.
void LeafSum::merge(size_t buffer, size_t tensor) {
  const auto to = part(buffer - 1, tensor), from = part(buffer, tensor);
  if (!is_table(tensor)) return combine(to, from, true);
  for (const int64_t row : touched_[buffer].list())
    kernels().fp32.add_to_sums(from.const_data_ptr<float>() + row * table_->columns, table_->columns, to.data_ptr<float>() + row * table_->columns);
  touched_[buffer - 1].unite(touched_[buffer]);
}

/// No gradient: zero.
void LeafSum::sum(size_t tensor, const at::Tensor* gradient) {
  TORCH_CHECK(!seen_[tensor], layout_.tensors[tensor].name, " received two gradients in one leaf");
  seen_[tensor] = true;
  const auto count = static_cast<uint64_t>(leaf_);
  auto depth = static_cast<size_t>(exact_ ? std::popcount(count) : count > 0);  // partial sums held before this leaf
  auto merges = exact_ ? static_cast<size_t>(std::countr_one(count)) : depth;  // carries of the binary counter
  if (last_leaf()) merges = depth;                                             // and at the end everything folds into one
  const bool first = merges == 0;
  const size_t buffer = first ? depth : depth - 1;
  const auto to = part(buffer, tensor);
  if (is_table(tensor)) {
    if (first) clear_rows(buffer);
    add_rows(buffer, gradient);
  } else if (!gradient) {
    if (first) to.zero_();
    else to.add_(0.0);
  } else if (first) {
    put(to, *gradient);
  } else {
    accumulate(to, *gradient);
  }
  if (first) return;
  for (--depth, --merges; merges > 0; --depth, --merges) merge(depth, tensor);
}

void LeafSum::add(size_t tensor, const at::Tensor& gradient) { sum(tensor, &gradient); }

void LeafSum::finish_leaf() {
  for (size_t i = first_; i < seen_.size(); ++i)
    if (!seen_[i]) sum(i, nullptr);
  seen_.assign(seen_.size(), false);
  ++leaf_;
}

}  // namespace fmtrain
