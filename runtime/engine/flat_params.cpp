#include "runtime/engine/flat_params.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "runtime/ledger.h"
#include "runtime/parameter_place.h"

namespace fmtrain {
FlatLayout make_layout(const std::vector<NamedParameter>& trainable) {
  FlatLayout layout;
  for (const auto& p : trainable) {
    layout.tensors.push_back({p.name, p.value.sizes().vec(), layout.numel, p.value.numel(), p.decays});
    layout.numel += aligned(p.value.numel());
  }
  return layout;
}

FlatParams::FlatParams(std::vector<NamedParameter> trainable, at::Tensor memory, bool values)
    : parameters_(std::move(trainable)), layout_(make_layout(parameters_)), values_(std::move(memory)) {
  TORCH_CHECK(!parameters_.empty(), "no trainable parameter");
  const Booking booking(Purpose::kParameters);
  if (!values_.defined()) values_ = at::zeros({layout_.numel}, parameters_[0].value.options().requires_grad(false));
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& place = layout_.tensors[i];
    const at::Tensor view = values_.narrow(0, place.offset, place.numel).view(place.shape);
    if (values || !place_of(parameters_[i].name).encoder()) view.copy_(parameters_[i].value.detach());
    parameters_[i].value.set_data(view);
  }
}

void append_pieces(std::vector<TensorPiece>& pieces, const std::string& prefix, const FlatLayout& layout, Range range,
                   const at::Tensor& memory, int64_t memory_first) {
  for (const auto& t : layout.tensors) {
    const int64_t first = std::max(t.offset, range.first), last = std::min(t.offset + t.numel, range.last);
    if (first < last) pieces.push_back({prefix + t.name, t.shape, first - t.offset, memory.narrow(0, first - memory_first, last - first)});
  }
}

}  // namespace fmtrain
