// Small matrix products on data in cache, with blocks of the result in vector registers. The order of additions is k = 0, 1, ... for
// every element, whatever the shape around it. For kernels_level.cpp only.
#pragma once
#include <cstdint>

#include "models/ops/vector_math.h"

namespace fmtrain {
namespace {
namespace small {

/// Rows of a register block: with two vectors a row, 16 sums hide the latency of a fused multiply-add.
inline constexpr int kRows = 8;

/// A matrix with any strides; B and C have unit column stride.
struct Strided {
  const float* data;
  int64_t row, column;  ///< elements from one row, or column, to the next
};

/// C [R, V vectors] = A [R, k] B [k, V vectors].
template <int R, int V>
FMTRAIN_INLINE void block(Strided a, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t k) {
  Vector sum[R][V] = {};
  for (int64_t p = 0; p < k; ++p) {
    Vector row[V];
    for (int v = 0; v < V; ++v) row[v] = read<Vector>(b + p * ldb + v * kVector);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) sum[i][v] += a.data[i * a.row + p * a.column] * row[v];
  }
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < V; ++v) write(c + i * ldc + v * kVector, sum[i][v]);
}

/// C [m, V vectors] = A [m, k] B: kRows rows at a time, so that a row of B is loaded once for all of them.
template <int V>
FMTRAIN_INLINE void columns(int64_t m, int64_t k, Strided a, const float* b, int64_t ldb, float* c, int64_t ldc) {
  for (; m >= kRows; m -= kRows, a.data += kRows * a.row, c += kRows * ldc) block<kRows, V>(a, b, ldb, c, ldc, k);
  switch (m) {
    case 7: return block<7, V>(a, b, ldb, c, ldc, k);
    case 6: return block<6, V>(a, b, ldb, c, ldc, k);
    case 5: return block<5, V>(a, b, ldb, c, ldc, k);
    case 4: return block<4, V>(a, b, ldb, c, ldc, k);
    case 3: return block<3, V>(a, b, ldb, c, ldc, k);
    case 2: return block<2, V>(a, b, ldb, c, ldc, k);
    case 1: return block<1, V>(a, b, ldb, c, ldc, k);
    default: return;
  }
}

/// C [m, n] = A [m, k] B [k, n], overwritten; neither may overlap it; n is a multiple of kVector.
FMTRAIN_INLINE void multiply(int64_t m, int64_t n, int64_t k, Strided a, const float* b, int64_t ldb, float* c, int64_t ldc) {
  int64_t j = 0;
  for (; j + 2 * kVector <= n; j += 2 * kVector) columns<2>(m, k, a, b + j, ldb, c + j, ldc);
  if (j < n) columns<1>(m, k, a, b + j, ldb, c + j, ldc);
}

}  // namespace small
}  // namespace
}  // namespace fmtrain
