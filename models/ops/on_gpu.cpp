#include "models/ops/on_gpu.h"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/autograd.h>

#include "models/ops/gpu_kernels.h"

namespace fmtrain {
namespace {

gpu::Mask gpu_mask(const DropoutKey& key) {
  return {static_cast<uint32_t>(key.seed),
          static_cast<uint32_t>(key.seed >> 32),
          key.step,
          key.layer << 24 | static_cast<uint32_t>(key.site) << 20,
          key.threshold(),
          key.scale()};
}

/// Launches on the current stream of the tensor's device.
template <class Launch>
void launch(const at::Tensor& on, const Launch& kernel) {
  const c10::cuda::CUDAGuard guard(on.device());
  kernel(static_cast<void*>(c10::cuda::getCurrentCUDAStream(on.device().index()).stream()));
  C10_CUDA_CHECK(cudaGetLastError());
}

template <class Rows>
at::Tensor masked(const at::Tensor& x, const Rows& which, int64_t features, const DropoutKey& key) {
  const auto from = x.contiguous();
  auto y = at::empty_like(from);
  launch(y, [&](void* stream) {
    gpu::multiply_by_mask(gpu_mask(key), which, from.data_ptr<float>(), y.data_ptr<float>(),
                          features == 0 ? 0 : y.numel() / features, features, stream);
  });
  return y;
}

at::Tensor masked_square(const at::Tensor& x, uint32_t sample, const DropoutKey& key) {
  return masked(x, gpu::SquareRows{sample, x.size(1)}, x.size(2), key);
}

class AttentionDropout final : public torch::autograd::Function<AttentionDropout> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& weights, int64_t sample,
                            const DropoutKey& key) {
    ctx->saved_data["key"] = key.saved();
    ctx->saved_data["sample"] = sample;
    return masked_square(weights, static_cast<uint32_t>(sample), key);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const auto key = DropoutKey::restored(ctx->saved_data["key"].toIntVector());
    return {masked_square(grads[0], static_cast<uint32_t>(ctx->saved_data["sample"].toInt()), key), {}, {}};
  }
};

}  // namespace

at::Tensor mask_rows_on_gpu(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& samples,
                            const DropoutKey& key) {
  for (const auto* rows : {&positions, &samples})
    TORCH_CHECK(rows->device() == x.device() && rows->is_contiguous() && rows->numel() == x.size(0),
                "a position and a sample for every row, on ", x.device());
  return masked(x, gpu::TableRows{positions.data_ptr<int64_t>(), samples.data_ptr<int64_t>()}, x.size(1), key);
}

at::Tensor attention_dropout_on_gpu(const at::Tensor& weights, uint32_t sample, const DropoutKey& key) {
  return AttentionDropout::apply(weights, static_cast<int64_t>(sample), key);
}

void adamw_on_gpu(const AdamWUpdate& update, const at::Tensor& param, const at::Tensor& grad, const at::Tensor& exp_avg,
                  const at::Tensor& exp_avg_sq) {
  launch(param, [&](void* stream) {
    gpu::apply_adamw(update, param.data_ptr<float>(), grad.data_ptr<float>(), exp_avg.data_ptr<float>(),
                     exp_avg_sq.data_ptr<float>(), param.numel(), stream);
  });
}

void sgd_on_gpu(const SgdUpdate& update, const at::Tensor& param, const at::Tensor& grad, const at::Tensor& buffer) {
  launch(param, [&](void* stream) {
    gpu::apply_sgd(update, param.data_ptr<float>(), grad.data_ptr<float>(), buffer.data_ptr<float>(), param.numel(), stream);
  });
}

void sums_of_squares_on_gpu(const at::Tensor& data, int64_t block, const at::Tensor& sums) {
  TORCH_CHECK(sums.numel() == (data.numel() + block - 1) / block && sums.is_contiguous(), sums.numel(), " sums of ", data.numel());
  launch(data, [&](void* stream) {
    gpu::sums_of_squares(data.data_ptr<float>(), data.numel(), block, sums.numel(), sums.data_ptr<double>(), stream);
  });
}

}  // namespace fmtrain
