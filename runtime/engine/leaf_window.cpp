#include "runtime/engine/leaf_window.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>

#include "models/ops/kernels.h"
#include "runtime/ledger.h"

namespace fmtrain {
namespace {

bool overlap(Range a, Range b) { return a.first < b.last && b.first < a.last; }

/// scratch: n elements for each level below.
void add_tree(std::span<const Bf16* const> addends, int64_t first, int64_t n, float* sums, float* scratch) {
  if (addends.size() == 1) return kernels().bf16.put_in_sums(addends[0] + first, n, sums);
  if (addends.size() == 2) return kernels().bf16.put_sum(addends[0] + first, addends[1] + first, n, sums);
  const size_t left = std::bit_floor(addends.size() - 1);
  add_tree(addends.first(left), first, n, sums, scratch);
  if (left + 1 == addends.size()) return kernels().bf16.add_to_sums(addends[left] + first, n, sums);
  add_tree(addends.subspan(left), first, n, scratch, scratch + n);
  kernels().fp32.add_to_sums(scratch, n, sums);
}

}  // namespace

void add_in_order(std::span<const Bf16* const> addends, int64_t first, int64_t n, float* sums) {
  thread_local std::vector<float> scratch;
  scratch.resize(static_cast<size_t>(n) * std::bit_width(addends.size()));
  add_tree(addends, first, n, sums, scratch.data());
}

LeafWindow::LeafWindow(const ShardGroups& groups, const FlatLayout& layout, const ShardPlan& plan, const std::vector<bool>& narrow,
                       const std::optional<Table>& table, bool readable)
    : groups_(groups), layout_(layout), plan_(plan), narrow_(narrow), seen_(layout.tensors.size(), false), written_(plan.buckets()) {
  int64_t rest = 0;
  size_t first_bucket = plan.buckets();
  for (size_t t = 0; t < layout.tensors.size(); ++t) {
    const auto& tensor = layout.tensors[t];
    for (size_t b = 0; b < plan.buckets(); ++b) {
      if (!overlap(plan.bucket(b), {tensor.offset, tensor.offset + tensor.numel})) continue;
      if (table && overlap(plan.bucket(b), table->range())) narrow_[t] = false;
      if (narrow_[t]) first_bucket = std::min(first_bucket, b);
    }
    const bool elsewhere = narrow_[t] || (table && table->tensor == t);
    at_rest_.push_back(elsewhere ? -1 : rest);
    if (elsewhere) continue;
    rests_.push_back({{tensor.offset, tensor.offset + tensor.numel}, rest});
    rest += aligned(tensor.numel);
  }
  const Booking booking(Purpose::kGradients);
  first_element_ = first_bucket < plan.buckets() ? plan.bucket(first_bucket).first : plan.padded();
  window_ = booked(groups.within().allocate(plan.padded() - first_element_, at::kBFloat16), Purpose::kGradients);
  rest_ = booked(groups.world().allocate(rest, at::kFloat), Purpose::kGradients);
  if (!readable || groups.copies() > 1 || (table && table->range().last > first_element_)) return;
  for (const void* window : groups.within().of_all_ranks(window_)) addends_.push_back(static_cast<const Bf16*>(window));
  if (!addends_.empty()) written_ = first_bucket;
}

at::Tensor LeafWindow::place(size_t tensor) const {
  const auto& t = layout_.tensors[tensor];
  return narrow_[tensor] ? window_.narrow(0, t.offset - first_element_, t.numel) : rest_.narrow(0, at_rest_[tensor], t.numel);
}

at::Tensor LeafWindow::place_for(size_t tensor) const {
  return narrow_[tensor] ? place(tensor).view(layout_.tensors[tensor].shape) : at::Tensor();
}

void LeafWindow::begin(bool leaf, size_t first) {
  first_ = first;
  if (leaf) return;
  for (size_t t = first; t < layout_.tensors.size(); ++t)
    if (narrow_[t] || at_rest_[t] >= 0) place(t).fill_(-0.0);
}

void LeafWindow::add(size_t tensor, const at::Tensor& gradient) {
  TORCH_CHECK(!seen_[tensor], layout_.tensors[tensor].name, " received two gradients in one leaf");
  TORCH_CHECK(!narrow_[tensor] || gradient.scalar_type() == at::kBFloat16, layout_.tensors[tensor].name, " was to arrive as bf16");
  seen_[tensor] = true;
  const auto to = place(tensor);
  if (gradient.data_ptr() != to.data_ptr()) to.copy_(gradient.reshape(-1));
}

void LeafWindow::finish_leaf() {
  for (size_t t = first_; t < seen_.size(); ++t)
    if (!seen_[t] && (narrow_[t] || at_rest_[t] >= 0)) place(t).zero_();
  seen_.assign(seen_.size(), false);
}

Work LeafWindow::reduce(size_t bucket, at::Tensor shard, ReduceOp op) {
  const Range range = plan_.bucket(bucket);
  if (range.first < first_element_) return {};
  return groups_.reduce_scatter(std::move(shard), window_.narrow(0, range.first - first_element_, range.numel()), op);
}

void LeafWindow::reduce_rest(ReduceOp op, const std::function<void(Range, const float*)>& put) {
  const auto begin = std::find_if(at_rest_.begin() + static_cast<std::ptrdiff_t>(first_), at_rest_.end(), [](int64_t at) { return at >= 0; });
  if (!addends_.empty()) groups_.world().barrier();
  if (begin == at_rest_.end()) return;
  groups_.world().all_reduce(rest_.narrow(0, *begin, rest_.numel() - *begin), op).wait();
  for (auto t = static_cast<size_t>(begin - at_rest_.begin()); t < at_rest_.size(); ++t)
    if (const auto& tensor = layout_.tensors[t]; at_rest_[t] >= 0)
      put({tensor.offset, tensor.offset + tensor.numel}, rest_.const_data_ptr<float>() + at_rest_[t]);
}

const float* LeafWindow::read(Range range, float* room) const {
  const auto* values = rest_.const_data_ptr<float>();
  auto rest = std::upper_bound(rests_.begin(), rests_.end(), range.first, [](int64_t first, const Rest& r) { return first < r.range.last; });
  if (rest != rests_.end() && rest->range.first <= range.first && range.last <= rest->range.last) return values + rest->at + range.first - rest->range.first;
  add_in_order(addends_, range.first - first_element_, range.numel(), room);
  for (; rest != rests_.end() && rest->range.first < range.last; ++rest) {
    const int64_t first = std::max(range.first, rest->range.first), last = std::min(range.last, rest->range.last);
    std::copy_n(values + rest->at + first - rest->range.first, last - first, room + first - range.first);
  }
  return room;
}

}  // namespace fmtrain
