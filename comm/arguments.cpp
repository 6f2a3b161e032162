#include "comm/arguments.h"

#include <ATen/ATen.h>

namespace fmtrain {

void check_buffer(const at::Tensor& buffer, at::DeviceType device) {
  TORCH_CHECK(buffer.defined() && buffer.is_contiguous(), "a collective needs a contiguous tensor");
  TORCH_CHECK(buffer.device().type() == device, "a tensor on ", buffer.device(), " for a communicator on ", device);
}

void check_reducible(const at::Tensor& buffer, at::DeviceType device) {
  check_buffer(buffer, device);
  const auto type = buffer.scalar_type();
  TORCH_CHECK(type == at::kFloat || type == at::kDouble || type == at::kLong || type == at::kInt, "no reduction for ", type);
}

namespace {

void check_sizes(const at::Tensor& full, const at::Tensor& shard, int size, at::DeviceType device) {
  check_buffer(full, device);
  check_buffer(shard, device);
  TORCH_CHECK(full.numel() == shard.numel() * size, "full has ", full.numel(), " elements, but ", size, " shards have ", shard.numel(), " each");
}

}  // namespace

void check_shard(const at::Tensor& full, const at::Tensor& shard, int size, at::DeviceType device) {
  check_sizes(full, shard, size, device);
  TORCH_CHECK(full.scalar_type() == shard.scalar_type(), "full is ", full.scalar_type(), ", shard is ", shard.scalar_type());
}

void check_reduced_shard(const at::Tensor& full, const at::Tensor& shard, int size, at::DeviceType device) {
  if (device == at::kCPU && full.defined() && shard.defined() && widens(full, shard)) return check_sizes(full, shard, size, device);
  check_shard(full, shard, size, device);
  check_reducible(full, device);
}

bool widens(const at::Tensor& full, const at::Tensor& shard) {
  return shard.defined() && full.scalar_type() == at::kBFloat16 && shard.scalar_type() == at::kFloat;
}

void check_root(int root, int size) { TORCH_CHECK(root >= 0 && root < size, "root ", root, " in a world of ", size); }

void check_numel(int64_t numel) { TORCH_CHECK(numel >= 0, "a buffer of ", numel, " elements"); }

}  // namespace fmtrain
