#include "models/ops/gradient_sum.h"

#include <bit>
#include <cstring>

#include "models/ops/multiversion.h"

namespace fmtrain {
namespace {

/// bf16 is the upper half of fp32.
[[gnu::always_inline]] inline float widened(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

}  // namespace

FMTRAIN_MULTIVERSION
void add_gradient(float* __restrict to, const float* __restrict from, int64_t numel) {
  for (int64_t i = 0; i < numel; ++i) to[i] += from[i];
}

FMTRAIN_MULTIVERSION
void add_gradient(float* __restrict to, const uint16_t* __restrict from, int64_t numel) {
  for (int64_t i = 0; i < numel; ++i) to[i] += widened(from[i]);
}

void put_gradient(float* to, const float* from, int64_t numel) { std::memcpy(to, from, static_cast<size_t>(numel) * sizeof(float)); }

FMTRAIN_MULTIVERSION
void put_gradient(float* __restrict to, const uint16_t* __restrict from, int64_t numel) {
  for (int64_t i = 0; i < numel; ++i) to[i] = widened(from[i]);
}

}  // namespace fmtrain
