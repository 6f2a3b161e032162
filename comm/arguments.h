// What every backend asks of a caller's tensors. All throw invariants (c10::Error), and do so before anything is exchanged, so
// that ranks with the same wrong call all throw and go on.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fmtrain {

/// Contiguous and on `device` (by type).
void check_buffer(const at::Tensor& buffer, at::DeviceType device);
/// As check_buffer, and of a dtype that has reductions: float, double, int64, int32.
void check_reducible(const at::Tensor& buffer, at::DeviceType device);
/// Two buffers of one dtype, full of `size` times the elements of shard.
void check_shard(const at::Tensor& full, const at::Tensor& shard, int size, at::DeviceType device);
/// Both, for reduce_scatter, where full may also be bf16 beside an fp32 shard, on the CPU.
void check_reduced_shard(const at::Tensor& full, const at::Tensor& shard, int size, at::DeviceType device);
/// True where full is bf16 beside an fp32 shard.
bool widens(const at::Tensor& full, const at::Tensor& shard);
/// 0 <= root < size.
void check_root(int root, int size);
/// 0 is allowed: a rank may own nothing.
void check_numel(int64_t numel);

}  // namespace fmtrain
