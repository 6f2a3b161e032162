// Small matrix products on data in cache, written so that the compiler keeps blocks of the result in registers. The order of
// additions is k = 0, 1, ... for every element, whatever the shape around it.
#pragma once
#include <cstdint>

namespace fmtrain::small {

/// Columns of a register block: four rows of 32 floats are 8 registers of AVX-512, or all 16 of AVX2.
inline constexpr int64_t kColumns = 32;

/// A matrix with any strides; B and C have unit column stride.
struct Strided {
  const float* data;
  int64_t row, column;  ///< elements from one row, or column, to the next
};

/// C [kRows, kCols] = A [kRows, k] B [k, kCols], the sums in registers until the end. ldb, ldc: elements from one row to the next.
template <int kRows, int kCols>
inline __attribute__((always_inline)) void block(Strided a, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t k) {
  float sum[kRows][kCols] = {};
  for (int64_t p = 0; p < k; ++p)
    for (int i = 0; i < kRows; ++i) {
      const float x = a.data[i * a.row + p * a.column];
      for (int j = 0; j < kCols; ++j) sum[i][j] += x * b[p * ldb + j];
    }
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kCols; ++j) c[i * ldc + j] = sum[i][j];
}

/// C [m, kCols] = A [m, k] B [k, kCols]: four rows at a time, so that a row of B is loaded once for four of C.
template <int kCols>
inline __attribute__((always_inline)) void columns(int64_t m, int64_t k, Strided a, const float* b, int64_t ldb, float* c, int64_t ldc) {
  int64_t i = 0;
  for (; i + 4 <= m; i += 4) block<4, kCols>({a.data + i * a.row, a.row, a.column}, b, ldb, c + i * ldc, ldc, k);
  for (; i < m; ++i) block<1, kCols>({a.data + i * a.row, a.row, a.column}, b, ldb, c + i * ldc, ldc, k);
}

/// C [m, n] = A [m, k] B [k, n], overwritten; neither may overlap it. Always inline: the caller decides for which processors it is
/// compiled (multiversion.h).
inline __attribute__((always_inline)) void multiply(int64_t m, int64_t n, int64_t k, Strided a, const float* b, int64_t ldb, float* c, int64_t ldc) {
  int64_t j = 0;
  for (; j + kColumns <= n; j += kColumns) columns<kColumns>(m, k, a, b + j, ldb, c + j, ldc);
  for (; j + 16 <= n; j += 16) columns<16>(m, k, a, b + j, ldb, c + j, ldc);
  for (; j < n; ++j) columns<1>(m, k, a, b + j, ldb, c + j, ldc);
}

}  // namespace fmtrain::small
