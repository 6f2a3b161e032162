// The tree of additions of comm/tree_reduce.h for one element, as code that a kernel runs for each element and a test runs on
// the CPU (nvcc takes constexpr functions for the device; C++17, for .cu files).
#pragma once
#include <cstdint>

namespace fmtrain {

/// Where the values of all ranks lie on one device: this rank's own anywhere, the others' in rows of one scratch buffer.
template <class T>
struct RankValues {
  const T* own;
  const T* rows;
  int64_t stride;  ///< elements between the rows of two ranks
  int rank, ranks;
  constexpr T operator()(int r, int64_t i) const { return r == rank ? own[i] : rows[r * stride + i]; }
};

/// b only where it is larger or a NaN; a NaN in a stays, for the comparison is false.
template <class T>
constexpr T larger_or_nan(T a, T b) {
  return b != b || a < b ? b : a;
}

/// Element i over all ranks: partial results of falling size on a stack, as a binary counter has ones. ranks >= 1; the stack of 33
/// holds any int number of ranks.
template <class T>
constexpr T tree_fold(const RankValues<T>& x, int64_t i, bool maximum) {
  T partial[33] = {};
  int depth = 0;
  for (int r = 0; r < x.ranks; ++r) {
    T value = x(r, i);
    for (int carry = r; carry & 1; carry >>= 1) {
      --depth;
      value = maximum ? larger_or_nan(partial[depth], value) : partial[depth] + value;
    }
    partial[depth++] = value;
  }
  T value = partial[--depth];
  while (depth > 0) {
    --depth;
    value = maximum ? larger_or_nan(partial[depth], value) : partial[depth] + value;
  }
  return value;
}

}  // namespace fmtrain
