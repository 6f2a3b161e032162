#include "models/ops/product.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

namespace fmtrain {
namespace {

using MaybeTensor = std::optional<at::Tensor>;

/// x times transposed w, plus b, by oneDNN; a view for w is read as it lies, of a transposed view for x it takes a copy. Not in
/// ATen's C++ interface, so it is looked up by name; undefined where LibTorch was built without oneDNN.
using OneDnnLinear = at::Tensor(const at::Tensor& x, const at::Tensor& w, const MaybeTensor& b, c10::string_view post_op,
                                c10::List<std::optional<at::Scalar>> scalars, std::optional<c10::string_view> algorithm);

template <class Signature>
std::optional<c10::TypedOperatorHandle<Signature>> operation(const char* name) {
  const auto found = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!found) return std::nullopt;
  return found->typed<Signature>();
}

const auto& one_dnn() {
  static const auto handle = operation<OneDnnLinear>("mkldnn::_linear_pointwise");
  return handle;
}

using OneDnnPack = at::Tensor(const at::Tensor& w, std::optional<c10::SymInt> rows);

const auto& one_dnn_pack() {
  static const auto handle = operation<OneDnnPack>("mkldnn::_reorder_linear_weight");
  return handle;
}

/// In a type that this processor multiplies.
at::Tensor widened(const at::Tensor& x) { return x.defined() && x.is_cpu() && !multiplies(x.scalar_type()) ? x.to(at::kFloat) : x; }

bool in_fp32(const at::Tensor& x) { return x.is_cpu() && (x.scalar_type() == at::kFloat || !multiplies(x.scalar_type())); }

bool for_one_dnn(const at::Tensor& x) {
#if defined(__x86_64__)
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
#else
  return x.is_cpu() && x.scalar_type() == at::kFloat;
#endif
}

at::Tensor transposed_product(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  const MaybeTensor b = bias.defined() ? MaybeTensor(bias) : std::nullopt;
  return for_one_dnn(x) && one_dnn() ? one_dnn()->call(x, w, b, "none", c10::List<std::optional<at::Scalar>>(), "") : at::linear(x, w, b);
}

/// dy transposed times x, both fp32. MKL reads them as they lie, while oneDNN takes a transposed copy of dy, a seventh of its time (Zen 3); but
/// on AMD processors with AVX-512, which have bf16 too, MKL runs AVX2 code and is the slower one.
at::Tensor grad_weight_fp32(const at::Tensor& dy, const at::Tensor& x) {
  return multiplies(at::kBFloat16) ? transposed_product(dy.t(), x.t(), {}) : at::mm(dy.t(), x);
}

}  // namespace

bool multiplies(at::ScalarType type) {
#if defined(__x86_64__)
  static const bool bf16 = __builtin_cpu_supports("avx512bf16") > 0, fp16 = __builtin_cpu_supports("avx512fp16") > 0;
  return type == at::kBFloat16 ? bf16 : type == at::kHalf ? fp16 : true;
#else
  return true;
#endif
}

at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const auto result = transposed_product(widened(x), widened(weight), widened(bias));  // a statement of its own: what was widened is freed
  return result.to(x.scalar_type());
}

at::Tensor PackedWeights::of(const at::Tensor& parameter, const at::Tensor& weight) {
  for (const auto& known : all_)
    if (known.parameter.is_same(parameter)) return known.packed;
  const int64_t bytes = weight.numel() * (multiplies(weight.scalar_type()) ? weight.element_size() : 4);
  if (!for_one_dnn(weight) || !one_dnn() || !one_dnn_pack() || bytes > room_) return weight;
  room_ -= bytes;
  return all_.emplace_back(parameter, one_dnn_pack()->call(widened(weight), c10::SymInt(rows_))).packed;
}

at::Tensor product_grad_input(const at::Tensor& dy, const at::Tensor& weight) {
  if (!in_fp32(dy)) return at::mm(dy, weight);
  const auto result = transposed_product(widened(dy), widened(weight).t(), {});
  return result.to(dy.scalar_type());
}

at::Tensor product_grad_weight(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& place) {
  if (in_fp32(dy)) {
    const auto result = grad_weight_fp32(widened(dy), widened(x));
    return place.defined() && result.scalar_type() != dy.scalar_type() ? place.copy_(result) : result.to(dy.scalar_type());
  }
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
