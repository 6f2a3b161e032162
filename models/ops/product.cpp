#include "models/ops/product.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

namespace fmtrain {
namespace {

using MaybeTensor = std::optional<at::Tensor>;

/// x times transposed w, plus b, by oneDNN; with views for x and w it reads them as they lie. Not in ATen's C++ interface, so it is
/// looked up by name; undefined where LibTorch was built without oneDNN.
using OneDnnLinear = at::Tensor(const at::Tensor& x, const at::Tensor& w, const MaybeTensor& b, c10::string_view post_op,
                                c10::List<std::optional<at::Scalar>> scalars, std::optional<c10::string_view> algorithm);

const std::optional<c10::TypedOperatorHandle<OneDnnLinear>>& one_dnn() {
  static const auto handle = []() -> std::optional<c10::TypedOperatorHandle<OneDnnLinear>> {
    const auto found = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    if (!found) return std::nullopt;
    return found->typed<OneDnnLinear>();
  }();
  return handle;
}

/// Processors for which oneDNN has products in bf16; for the others ATen converts.
bool has_bf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") > 0;
#else
  return false;
#endif
}

at::Tensor transposed_product(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  const MaybeTensor b = bias.defined() ? MaybeTensor(bias) : std::nullopt;
  const bool known = x.scalar_type() == at::kFloat || (x.scalar_type() == at::kBFloat16 && has_bf16());
  return x.is_cpu() && known && one_dnn() ? one_dnn()->call(x, w, b, "none", c10::List<std::optional<at::Scalar>>(), "") : at::linear(x, w, b);
}

}  // namespace

at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) { return transposed_product(x, weight, bias); }

at::Tensor product_grad_input(const at::Tensor& dy, const at::Tensor& weight) {
  return dy.is_cpu() && dy.scalar_type() == at::kFloat ? transposed_product(dy, weight.t(), {}) : at::mm(dy, weight);
}

at::Tensor product_grad_weight(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& place) {
  if (dy.is_cpu() && dy.scalar_type() == at::kFloat) return transposed_product(dy.t(), x.t(), {});
  if (!place.defined()) return at::mm(dy.t(), x);
  at::Tensor result = place;
  return at::mm_out(result, dy.t(), x);
}

at::Tensor as_one(const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
  const auto follows = [](const at::Tensor& x, const at::Tensor& y) {
    return x.defined() && y.defined() && x.is_alias_of(y) && y.storage_offset() == x.storage_offset() + x.numel();
  };
  if (!follows(a, b) || !follows(b, c)) return {};
  auto shape = a.sizes().vec();
  shape[0] *= 3;
  return a.as_strided(shape, a.strides());
}

}  // namespace fmtrain
