#include "models/batch.h"

#include <ATen/ATen.h>

namespace fmtrain {

at::Tensor targets_of_logits(const Batch& batch) {
  return batch.target_rows.defined() ? batch.targets.index_select(0, batch.target_rows) : batch.targets;
}

Batch to(const Batch& batch, at::Device device) {
  if (batch.tokens.device() == device) return batch;
  Batch moved = batch;
  for (auto* tensor : {&moved.tokens, &moved.types, &moved.positions, &moved.targets, &moved.target_rows})
    if (tensor->defined()) *tensor = (device.is_cuda() ? tensor->pin_memory() : *tensor).to(device, /*non_blocking=*/true);
  return moved;
}

}  // namespace fmtrain
