#include "runtime/checkpoint/snapshot.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "runtime/ledger.h"

namespace fmtrain {

StateDict snapshot(const StateDict& live, at::Tensor& buffer) {
  const at::NoGradGuard no_grad;
  const Booking booking(Purpose::kSnapshot);
  int64_t numel = 0;
  bool gpu = false;
  for (const auto& piece : live.pieces) {
    numel += piece.data.numel();
    gpu = gpu || piece.data.is_cuda();
  }
  if (!buffer.defined() || buffer.numel() < numel) buffer = at::empty({numel}, at::TensorOptions(at::kFloat).pinned_memory(gpu));
  StateDict copy = live;
  int64_t at = 0;
  for (auto& piece : copy.pieces) {
    const auto place = buffer.narrow(0, at, piece.data.numel());
    at += piece.data.numel();
    piece.data = place.copy_(piece.data);
  }
  return copy;
}

}  // namespace fmtrain
