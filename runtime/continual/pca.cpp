#include "runtime/continual/pca.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace fmtrain {
namespace {

at::Tensor matrix(std::span<const float> rows, int64_t dims) {
  const auto n = static_cast<int64_t>(rows.size()) / dims;
  return at::from_blob(const_cast<float*>(rows.data()), {n, dims}, at::kFloat).to(at::kDouble);
}

std::vector<double> values(const at::Tensor& tensor) {
  const auto flat = tensor.contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

/// An eigenvector's sign is arbitrary, and libraries choose differently.
void fix_sign(std::span<double> axis) {
  const auto largest = std::max_element(axis.begin(), axis.end(), [](double a, double b) { return std::abs(a) < std::abs(b); });
  if (*largest < 0)
    for (auto& entry : axis) entry = -entry;
}

}  // namespace

Pca fit_pca(std::span<const float> rows, int64_t dims, int64_t components) {
  const auto x = matrix(rows, dims);
  const auto mean = x.mean(0);
  const auto centred = x - mean;
  const auto covariance = at::mm(centred.t(), centred).div_(static_cast<double>(x.size(0) - 1));
  const auto [ascending, vectors] = at::linalg_eigh(covariance);
  const int64_t kept = std::min(components, dims);
  Pca pca{dims, kept, values(mean), values(vectors.flip(1).slice(1, 0, kept).t()), values(ascending.flip(0).slice(0, 0, kept))};
  for (int64_t c = 0; c < kept; ++c)
    fix_sign(std::span(pca.axes).subspan(static_cast<size_t>(c * dims), static_cast<size_t>(dims)));
  return pca;
}

std::vector<double> project(const Pca& pca, std::span<const float> rows) {
  const auto axes = at::from_blob(const_cast<double*>(pca.axes.data()), {pca.components, pca.dims}, at::kDouble);
  const auto mean = at::from_blob(const_cast<double*>(pca.mean.data()), {pca.dims}, at::kDouble);
  return values(at::mm(axes, (matrix(rows, pca.dims) - mean).t()));
}

}  // namespace fmtrain
