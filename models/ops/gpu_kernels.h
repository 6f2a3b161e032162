// Kernels for NVIDIA GPUs as plain functions: raw device memory, asynchronous on a stream (a cudaStream_t), launch errors left
// to cudaGetLastError. C++17, for .cu files. What a kernel does for one index is a constexpr function where the test of the
// CPU can run it too.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "models/ops/optimizer_update.h"
#include "models/ops/philox.h"

namespace fmtrain::gpu {

/// A DropoutKey as the kernels want it (models/ops/dropout.h defines the bits).
struct Mask {
  uint32_t seed_low, seed_high, step;
  uint32_t base;  ///< layer << 24 | site << 20
  uint32_t threshold;
  float scale;
};

/// What a row of features is for the counter, from its number: tables of a batch, or the squares of attention [heads, size].
struct TableRows {
  const int64_t *positions, *samples;
  constexpr uint32_t position(int64_t row) const { return static_cast<uint32_t>(positions[row]); }
  constexpr uint32_t sample(int64_t row) const { return static_cast<uint32_t>(samples[row]); }
  constexpr uint32_t first_block(int64_t) const { return 0; }
};
struct SquareRows {
  uint32_t id;
  int64_t size;
  constexpr uint32_t position(int64_t row) const { return static_cast<uint32_t>(row % size); }
  constexpr uint32_t sample(int64_t) const { return id; }
  constexpr uint32_t first_block(int64_t row) const { return static_cast<uint32_t>(row / size) << 12; }
};

/// Eight features of one row: y = x * mask. `index` counts blocks of eight, row by row; y may be x.
template <class Rows>
constexpr void multiply_block(const Mask& mask, const Rows& rows, const float* x, float* y, int64_t features, int64_t index) {
  const int64_t blocks = (features + 7) / 8, row = index / blocks, block = index % blocks;
  const std::array<uint32_t, 4> words = philox4x32(
      {mask.base + rows.first_block(row) + static_cast<uint32_t>(block), rows.position(row), rows.sample(row), mask.step},
      {mask.seed_low, mask.seed_high});
  for (int64_t k = 0; k < 8 && block * 8 + k < features; ++k) {
    const uint32_t bits = words[static_cast<size_t>(k / 2)] >> (k % 2 * 16) & 0xFFFF;
    const int64_t i = row * features + block * 8 + k;
    y[i] = x[i] * (bits >= mask.threshold ? mask.scale : 0.0f);
  }
}

/// y = x * mask for x [rows, features].
template <class Rows>
void multiply_by_mask(const Mask& mask, const Rows& which, const float* x, float* y, int64_t rows, int64_t features,
                      void* stream);

/// As apply_adamw and apply_sgd of models/ops/optimizer_update.h.
void apply_adamw(const AdamWUpdate& update, float* param, const float* grad, float* exp_avg, float* exp_avg_sq, int64_t numel,
                 void* stream);
void apply_sgd(const SgdUpdate& update, float* param, const float* grad, float* buffer, int64_t numel, void* stream);

/// sums[b] = sum of squares of data[b * block, (b + 1) * block) in fp64 for b < blocks, the last block up to numel; the order
/// of additions depends on the block's own length only.
void sums_of_squares(const float* data, int64_t numel, int64_t block, int64_t blocks, double* sums, void* stream);

}  // namespace fmtrain::gpu
