#include "models/ops/kernels.h"

namespace fmtrain {

extern const Kernels kernels_base;
#if defined(__x86_64__)
extern const Kernels kernels_avx2, kernels_avx512;
#endif

namespace {

const Kernels& choose() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("x86-64-v4")) return kernels_avx512;
  if (__builtin_cpu_supports("x86-64-v3")) return kernels_avx2;
#endif
  return kernels_base;
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

template <>
const KernelsOf<float>& kernels_of() { return kernels().fp32; }
template <>
const KernelsOf<Bf16>& kernels_of() { return kernels().bf16; }

}  // namespace fmtrain
