// Kernels compiled for several x86 levels and chosen when the program starts, so that one binary serves every node. The
// choice is the same on all ranks of one processor type. Levels differ in bits: with AVX2 and above the compiler fuses products with
// sums, so processors of different levels in one run give it bits of its own.
#pragma once

#if defined(__x86_64__)
#define FMTRAIN_MULTIVERSION __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define FMTRAIN_MULTIVERSION
#endif
