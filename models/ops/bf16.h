// Elements of activations in kernels: floats, or bfloat16 as its 16 bits, the upper half of a float. Written so that loops over
// them vectorise.
#pragma once
#include <cstdint>

namespace fmtrain {

struct Bf16 { uint16_t bits; };

inline __attribute__((always_inline)) float load(float x) { return x; }
inline __attribute__((always_inline)) float load(Bf16 x) { return __builtin_bit_cast(float, static_cast<uint32_t>(x.bits) << 16); }

inline __attribute__((always_inline)) void store(float& to, float x) { to = x; }
/// Rounds to nearest, ties to even; a NaN stays one.
inline __attribute__((always_inline)) void store(Bf16& to, float x) {
  const auto bits = __builtin_bit_cast(uint32_t, x);
  const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  to.bits = static_cast<uint16_t>(x == x ? rounded : 0x7FC0);
}

}  // namespace fmtrain
