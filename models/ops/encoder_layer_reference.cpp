#include <ATen/ATen.h>

#include "models/ops/encoder_layer.h"
#include "models/ops/linear.h"

namespace fmtrain {

at::Tensor encoder_layer_reference(const at::Tensor& x, const EncoderLayer& layer, const LayerPass& pass, at::ScalarType type) {
  const auto& p = layer.parameters;
  const auto weight = [&](size_t i, const ProductWeight& values) {
    return LinearWeight{p[i], p[i + 1], type == at::kFloat ? at::Tensor() : values.weight};
  };
  const auto take = [&](const at::Tensor& rows) { return pass.outputs.defined() ? rows.index_select(0, pass.outputs) : rows; };
  const auto positions = take(pass.positions), samples = take(pass.samples);
  const auto drop = [&](const at::Tensor& y, const DropoutKey& key) { return dropout(y.to(at::kFloat), positions, samples, key); };
  const auto norm = [&](const at::Tensor& y, size_t i) { return at::layer_norm(y, {y.size(1)}, p[i], p[i + 1], layer.norm_eps, false); };
  const LinearWeight qkv{at::cat({p[kQueryWeight], p[kKeyWeight], p[kValueWeight]}), at::cat({p[kQueryBias], p[kKeyBias], p[kValueBias]}),
                         type == at::kFloat ? at::Tensor() : layer.qkv.weight};
  const auto context = take(packed_attention_reference(linear(x, qkv), pass.rows, layer.heads, pass.attention));
  const auto attended = norm(drop(linear(context, weight(kContextWeight, layer.context)), pass.context) + take(x), kAttendedNormWeight);
  const auto wide = at::gelu(linear(attended, weight(kWideWeight, layer.wide)));
  return norm(drop(linear(wide, weight(kOutputWeight, layer.output)), pass.output) + attended, kOutputNormWeight);
}

}  // namespace fmtrain
