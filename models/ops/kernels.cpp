#include "models/ops/kernels.h"

namespace fmtrain {

extern const Kernels kernels_base;
#if defined(__x86_64__)
extern const Kernels kernels_avx2, kernels_avx512;
#endif

std::span<const Kernels* const> kernel_levels() {
#if defined(__x86_64__)
  static const Kernels* const all[] = {&kernels_base, &kernels_avx2, &kernels_avx512};
  static const size_t here = __builtin_cpu_supports("x86-64-v4") ? 3 : __builtin_cpu_supports("x86-64-v3") ? 2 : 1;
  return {all, here};
#else
  static const Kernels* const all[] = {&kernels_base};
  return all;
#endif
}

const Kernels& kernels() {
  static const Kernels& chosen = *kernel_levels().back();
  return chosen;
}

template <>
const KernelsOf<float>& kernels_of() { return kernels().fp32; }
template <>
const KernelsOf<Bf16>& kernels_of() { return kernels().bf16; }

}  // namespace fmtrain
