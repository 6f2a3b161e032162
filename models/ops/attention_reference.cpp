#include <torch/torch.h>

#include <cmath>

#include "models/ops/attention.h"

namespace fmtrain {
namespace {

/// [heads, s, s]
at::Tensor attention_mask(const DropoutKey& key, uint32_t sample, int64_t heads, int64_t s, at::Device device) {
  auto mask = at::empty({heads, s, s}, at::kFloat);
  float* p = mask.data_ptr<float>();
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < s; ++i, p += s)
      dropout_mask(key, {static_cast<uint32_t>(i), sample}, static_cast<uint32_t>(h << 12), {p, static_cast<size_t>(s)});
  return mask.to(device);
}

}  // namespace

at::Tensor packed_attention_reference(const at::Tensor& qkv, const PackedRows& rows, int64_t heads, const DropoutKey& dropout) {
  const auto* offsets = rows.offsets.data_ptr<int64_t>();
  const auto* ids = rows.sample_ids.data_ptr<int64_t>();
  const int64_t d = qkv.size(1) / 3;
  std::vector<at::Tensor> parts;
  for (int64_t sample = 0; sample < rows.sample_ids.size(0); ++sample) {
    const int64_t s = offsets[sample + 1] - offsets[sample];
    const auto x = qkv.narrow(0, offsets[sample], s).to(at::kFloat).view({s, 3, heads, d / heads}).permute({1, 2, 0, 3});  // [3, heads, s, dh]
    auto weights = at::softmax(at::matmul(x[0], x[1].transpose(1, 2)) / std::sqrt(static_cast<double>(d / heads)), -1);
    if (dropout.p > 0) weights = weights * attention_mask(dropout, static_cast<uint32_t>(ids[sample]), heads, s, qkv.device());
    parts.push_back(at::matmul(weights, x[2]).permute({1, 0, 2}).reshape({s, d}));
  }
  return at::cat(parts);
}

}  // namespace fmtrain
