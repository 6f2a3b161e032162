// Dropout whose mask is a function of what is dropped, never of where or when it is computed (design: numerics 3).
// Bits: Philox-4x32-10 keyed by the run's seed, counter = {layer << 24 | site << 20 | block of 8 features, position in the
// sample, sample id, step}. One call gives eight 16-bit numbers for eight consecutive features; a feature is kept when its
// number is at least round(p * 65536), and kept values are scaled by 1 / (1 - p). The mask is never stored.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "models/ops/kernels.h"

namespace fmtrain {

/// Places of the model where dropout happens. Attention uses the head and the key position as further features.
enum class DropoutSite : uint32_t { kEmbeddings = 0, kAttention = 1, kAttentionOutput = 2, kOutput = 3, kHead = 4 };

/// What one row of features is, for the counter.
struct DropoutRow {
  uint32_t position, sample;
};

/// A dropout of one site in one pass.
struct DropoutKey {
  double p = 0;
  uint64_t seed = 0;
  uint32_t step = 0, layer = 0;
  DropoutSite site = DropoutSite::kEmbeddings;

  uint32_t threshold() const;  ///< numbers below are dropped
  float scale() const;         ///< 1 / (1 - p)
  std::vector<int64_t> saved() const;  ///< for an autograd context
  static DropoutKey restored(const std::vector<int64_t>& saved);
};

/// mask[i] = scale or 0 for the features first_block * 8 + i of one row.
void dropout_mask(const DropoutKey& key, DropoutRow row, uint32_t first_block, std::span<float> mask);

/// The same for kernels (kernels.h).
MaskCounter mask_counter(const DropoutKey& key, DropoutRow row, uint32_t first_block);

/// x * mask for x fp32 [rows, features], contiguous; positions and samples int64 [rows] on x's device. Differentiable; returns x
/// itself when p is 0. Reference: x * mask as written above.
at::Tensor dropout(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& samples, const DropoutKey& key);

}  // namespace fmtrain
