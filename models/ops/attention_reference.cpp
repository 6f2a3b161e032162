#include <ATen/ATen.h>

#include <cmath>

#include "models/ops/attention.h"
#include "models/ops/on_gpu.h"

namespace fmtrain {
namespace {

/// [heads, s, s]
at::Tensor attention_mask(const DropoutKey& key, uint32_t sample, int64_t heads, int64_t s) {
  auto mask = at::empty({heads, s, s}, at::kFloat);
  float* p = mask.data_ptr<float>();
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < s; ++i, p += s)
      dropout_mask(key, {static_cast<uint32_t>(i), sample}, static_cast<uint32_t>(h << 12), {p, static_cast<size_t>(s)});
  return mask;
}

at::Tensor attention_dropout(const at::Tensor& weights, uint32_t sample, const DropoutKey& key) {
  if (key.p == 0) return weights;
  return weights.is_cuda() ? attention_dropout_on_gpu(weights, sample, key)
                           : weights * attention_mask(key, sample, weights.size(0), weights.size(1));
}

}  // namespace

at::Tensor packed_attention_reference(const at::Tensor& qkv, const PackedRows& rows, int64_t heads, const DropoutKey& dropout) {
  const auto* offsets = rows.offsets.data_ptr<int64_t>();
  const auto* ids = rows.sample_ids.data_ptr<int64_t>();
  const int64_t d = qkv.size(1) / 3;
  const auto lengths = rows.offsets.slice(0, 1) - rows.offsets.slice(0, 0, -1);
  const auto samples = qkv.split_with_sizes(
      at::IntArrayRef(lengths.data_ptr<int64_t>(), static_cast<size_t>(lengths.numel())));  // its gradient is one cat
  std::vector<at::Tensor> parts;
  for (int64_t sample = 0; sample < rows.sample_ids.size(0); ++sample) {
    const int64_t s = offsets[sample + 1] - offsets[sample];
    const auto x = samples[static_cast<size_t>(sample)]
                       .to(at::kFloat)
                       .view({s, 3, heads, d / heads})
                       .permute({1, 2, 0, 3});  // [3, heads, s, dh]
    const auto weights = at::softmax(at::matmul(x[0], x[1].transpose(1, 2)) / std::sqrt(static_cast<double>(d / heads)), -1);
    const auto kept = attention_dropout(weights, static_cast<uint32_t>(ids[sample]), dropout);
    parts.push_back(at::matmul(kept, x[2]).permute({1, 0, 2}).reshape({s, d}));
  }
  return at::cat(parts);
}

}  // namespace fmtrain
