// Dropout masks by Philox-4x32-10 (philox.h), many counters side by side. For kernels_level.cpp only.
#pragma once
#include <cstddef>
#include <cstdint>

#include "models/ops/kernels.h"
#include "models/ops/vector_math.h"

namespace fmtrain {
namespace {

/// Counters at a time: one row of 384 features, and enough independent work to hide the latency of the multiplications.
constexpr int64_t kCounters = 48;

struct PhiloxBlocks {
  uint64_t block[kCounters], position[kCounters];  ///< in; 64 bits wide, as the products are
  uint32_t words[4][kCounters];                    ///< out
};

FMTRAIN_INLINE void philox_blocks(const MaskCounter& c, PhiloxBlocks& p) {
  constexpr uint64_t kLow = 0xFFFFFFFF;
  uint64_t a[kCounters], b[kCounters], d[kCounters], e[kCounters];
  for (int64_t i = 0; i < kCounters; ++i) a[i] = p.block[i], b[i] = p.position[i], d[i] = c.sample, e[i] = c.step;
  uint32_t k0 = c.key0, k1 = c.key1;
  for (int round = 0; round < 10; ++round) {
    for (int64_t i = 0; i < kCounters; ++i) {
      const uint64_t p0 = 0xD2511F53 * (a[i] & kLow), p1 = 0xCD9E8D57 * (d[i] & kLow);
      a[i] = (p1 >> 32) ^ b[i] ^ k0;  // the upper halves hold what nobody reads
      b[i] = p1;
      d[i] = (p0 >> 32) ^ e[i] ^ k1;
      e[i] = p0;
    }
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  for (int64_t i = 0; i < kCounters; ++i) {
    p.words[0][i] = static_cast<uint32_t>(a[i]);
    p.words[1][i] = static_cast<uint32_t>(b[i]);
    p.words[2][i] = static_cast<uint32_t>(d[i]);
    p.words[3][i] = static_cast<uint32_t>(e[i]);
  }
}

/// mask [8 * kCounters]: eight 16-bit numbers a counter, in the order of its words, lower halves first.
FMTRAIN_INLINE void mask_of(const PhiloxBlocks& p, const MaskCounter& c, float* __restrict mask) {
  uint32_t words[kCounters][4];
  for (int64_t i = 0; i < kCounters; ++i)
    for (int64_t w = 0; w < 4; ++w) words[i][w] = p.words[w][i];
  uint16_t numbers[8 * kCounters];
  __builtin_memcpy(numbers, words, sizeof numbers);
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  const auto threshold = static_cast<int32_t>(c.threshold);
  const float scale = c.scale;
  for (int64_t i = 0; i < 8 * kCounters; ++i) mask[i] = static_cast<int32_t>(numbers[i]) >= threshold ? scale : 0.0f;
}

[[maybe_unused]] void mask_row(const MaskCounter& c, int64_t features, float* mask) {
  PhiloxBlocks p;
  float values[8 * kCounters];
  for (int64_t i = 0; i < kCounters; ++i) p.position[i] = c.position;
  for (int64_t done = 0; done < features; done += 8 * kCounters) {
    for (int64_t i = 0; i < kCounters; ++i) p.block[i] = c.block + static_cast<uint64_t>(done / 8 + i);
    philox_blocks(c, p);
    const int64_t n = features - done < 8 * kCounters ? features - done : 8 * kCounters;
    float* to = n == 8 * kCounters ? mask + done : values;
    mask_of(p, c, to);
    if (to == values) __builtin_memcpy(mask + done, values, static_cast<size_t>(n) * sizeof(float));
  }
}

/// The counters run on over the ends of rows. Columns that no counter reaches are 0.
[[maybe_unused]] void mask_square(const MaskCounter& c, int64_t size, int64_t width, float* mask) {
  PhiloxBlocks p;
  float values[8 * kCounters];
  const int64_t blocks = (size + 7) / 8;
  for (int64_t r = 0; r < size; ++r)
    for (int64_t j = blocks * 8; j < width; ++j) mask[r * width + j] = 0;
  int64_t row = 0, block = 0;
  while (row < size) {
    const int64_t first_row = row, first_block = block;
    for (int64_t i = 0; i < kCounters; ++i) {
      p.position[i] = c.position + static_cast<uint64_t>(row);
      p.block[i] = c.block + static_cast<uint64_t>(block);
      if (++block == blocks) block = 0, ++row;
    }
    philox_blocks(c, p);
    mask_of(p, c, values);
    int64_t r = first_row, b = first_block;
    for (int64_t i = 0; i < kCounters && r < size; ++i) {
      __builtin_memcpy(mask + r * width + b * 8, values + i * 8, 8 * sizeof(float));
      if (++b == blocks) b = 0, ++r;
    }
  }
}

}  // namespace
}  // namespace fmtrain
