// Sums of gradients on the CPU: fp32 sums of terms that are fp32 or, as 16-bit patterns, bf16. Elementwise, each term widened exactly
// and added with one rounding, so any cut of the memory gives the same bits.
#pragma once
#include <cstdint>

namespace fmtrain {

/// to[i] += from[i]; arrays of [numel] that do not overlap, here and below.
void add_gradient(float* to, const float* from, int64_t numel);
void add_gradient(float* to, const uint16_t* from, int64_t numel);
/// to[i] = from[i].
void put_gradient(float* to, const float* from, int64_t numel);
void put_gradient(float* to, const uint16_t* from, int64_t numel);

}  // namespace fmtrain
