// Principal components of the reference: few numbers, in which a shift can be named dimension by dimension.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace fmtrain {

struct Pca {
  int64_t dims = 0, components = 0;
  std::vector<double> mean;  ///< [dims]
  std::vector<double> axes;  ///< [components, dims], orthonormal; the entry of largest size is positive (the first of equals)
  std::vector<double> variances;  ///< [components], descending, with divisor n - 1
};

/// rows: [n, dims], n >= 2; at most min(components, dims) axes. From the covariance matrix by LibTorch's symmetric eigensolver
/// (LAPACK), in fp64.
Pca fit_pca(std::span<const float> rows, int64_t dims, int64_t components);

/// Coordinates of rows [n, pca.dims], component by component: [components, n].
std::vector<double> project(const Pca& pca, std::span<const float> rows);

}  // namespace fmtrain
