#include "models/ops/dropout.h"

#include <ATen/Parallel.h>
#include <torch/autograd.h>

#include <bit>
#include <cmath>

#include "models/ops/kernels.h"
#include "models/ops/on_gpu.h"

namespace fmtrain {
namespace {

void multiply_rows(const float* x, float* y, int64_t rows, int64_t features, const int64_t* positions, const int64_t* samples, const DropoutKey& key) {
  at::parallel_for(0, rows, 16, [&](int64_t first, int64_t last) {
    std::vector<float> mask(static_cast<size_t>(features));
    for (int64_t r = first; r < last; ++r) {
      dropout_mask(key, {static_cast<uint32_t>(positions[r]), static_cast<uint32_t>(samples[r])}, 0, mask);
      for (int64_t f = 0; f < features; ++f) y[r * features + f] = x[r * features + f] * mask[static_cast<size_t>(f)];
    }
  });
}

at::Tensor apply_mask(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& samples, const DropoutKey& key) {
  if (x.is_cuda()) return mask_rows_on_gpu(x.detach(), positions, samples, key);
  const auto on_cpu = x.detach().to(at::kCPU, at::kFloat).contiguous();
  auto y = at::empty_like(on_cpu);
  multiply_rows(on_cpu.data_ptr<float>(), y.data_ptr<float>(), x.size(0), x.size(1), positions.data_ptr<int64_t>(), samples.data_ptr<int64_t>(), key);
  return y.to(x.device());
}

class Dropout final : public torch::autograd::Function<Dropout> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& positions, const at::Tensor& samples,
                            const DropoutKey& key) {
    ctx->save_for_backward({positions, samples});
    ctx->saved_data["key"] = key.saved();
    return apply_mask(x, positions, samples, key);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, const torch::autograd::variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto key = DropoutKey::restored(ctx->saved_data["key"].toIntVector());
    return {apply_mask(grads[0], saved[0], saved[1], key), {}, {}, {}};
  }
};

}  // namespace

uint32_t DropoutKey::threshold() const { return static_cast<uint32_t>(std::lround(p * 65536)); }
float DropoutKey::scale() const { return static_cast<float>(1.0 / (1.0 - p)); }

std::vector<int64_t> DropoutKey::saved() const {
  return {std::bit_cast<int64_t>(p), static_cast<int64_t>(seed), step, layer, static_cast<int64_t>(site)};
}

DropoutKey DropoutKey::restored(const std::vector<int64_t>& saved) {
  return {std::bit_cast<double>(saved[0]), static_cast<uint64_t>(saved[1]), static_cast<uint32_t>(saved[2]), static_cast<uint32_t>(saved[3]),
          static_cast<DropoutSite>(saved[4])};
}

MaskCounter mask_counter(const DropoutKey& key, DropoutRow row, uint32_t first_block) {
  return {(key.layer << 24 | static_cast<uint32_t>(key.site) << 20) + first_block, row.position, row.sample, key.step, static_cast<uint32_t>(key.seed),
          static_cast<uint32_t>(key.seed >> 32), key.threshold(), key.scale()};
}

void dropout_mask(const DropoutKey& key, DropoutRow row, uint32_t first_block, std::span<float> mask) {
  kernels().mask_row(mask_counter(key, row, first_block), std::ssize(mask), mask.data());
}

at::Tensor dropout(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& samples, const DropoutKey& key) {
  return key.p == 0 ? x : Dropout::apply(x, positions, samples, key);
}

}  // namespace fmtrain
