#include "runtime/engine/flat_params.h"

#include <torch/torch.h>

#include <algorithm>

namespace fmtrain {
namespace {

int64_t aligned(int64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

FlatLayout make_layout(const std::vector<NamedParameter>& trainable) {
  FlatLayout layout;
  for (const auto& p : trainable) {
    layout.tensors.push_back({p.name, p.value.sizes().vec(), layout.numel, p.value.numel(), p.decays});
    layout.numel += aligned(p.value.numel());
  }
  return layout;
}

std::pair<int64_t, int64_t> ShardPlan::range(int rank) const {
  const int64_t units = aligned(numel) / kAlignment;
  return {rank * units / world * kAlignment, (rank + int64_t{1}) * units / world * kAlignment};
}

FlatParams::FlatParams(std::vector<NamedParameter> trainable) : parameters_(std::move(trainable)), layout_(make_layout(parameters_)) {
  TORCH_CHECK(!parameters_.empty(), "no trainable parameter");
  values_ = at::zeros({layout_.numel}, parameters_[0].value.options().requires_grad(false));
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& place = layout_.tensors[i];
    const at::Tensor view = values_.narrow(0, place.offset, place.numel).view(place.shape);
    view.copy_(parameters_[i].value.detach());
    parameters_[i].value.set_data(view);
  }
}

void append_pieces(std::vector<TensorPiece>& pieces, const std::string& prefix, const FlatLayout& layout, const at::Tensor& flat,
                   std::pair<int64_t, int64_t> range) {
  for (const auto& t : layout.tensors) {
    const int64_t first = std::max(t.offset, range.first), last = std::min(t.offset + t.numel, range.second);
    if (first < last) pieces.push_back({prefix + t.name, t.shape, first - t.offset, flat.narrow(0, first, last - first)});
  }
}

}  // namespace fmtrain
