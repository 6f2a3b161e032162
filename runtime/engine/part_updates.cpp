#include "runtime/engine/part_updates.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "models/ops/on_gpu.h"

namespace fmtrain {
namespace {

/// Elements one thread takes at a time.
constexpr int64_t kGrain = 64 * 1024;

/// Calls use(first, count) for pieces of what `tensor` holds, on all threads.
template <class Use>
void in_parallel(const at::Tensor& tensor, const Use& use) {
  at::parallel_for(0, tensor.numel(), kGrain, [&](int64_t from, int64_t to) { use(from, to - from); });
}

float* data(const at::Tensor& tensor) { return tensor.data_ptr<float>(); }

}  // namespace

void update_by_adamw(const AdamWUpdate& update, const at::Tensor& param, const at::Tensor& grad, const at::Tensor& exp_avg,
                     const at::Tensor& exp_avg_sq) {
  if (param.is_cuda()) return adamw_on_gpu(update, param, grad, exp_avg, exp_avg_sq);
  in_parallel(param, [&, p = data(param), g = data(grad), m = data(exp_avg), v = data(exp_avg_sq)](int64_t i, int64_t n) {
    apply_adamw(update, p + i, g + i, m + i, v + i, n);
  });
}

void update_by_sgd(const SgdUpdate& update, const at::Tensor& param, const at::Tensor& grad, const at::Tensor& buffer) {
  if (param.is_cuda()) return sgd_on_gpu(update, param, grad, buffer);
  in_parallel(param, [&, p = data(param), g = data(grad), b = data(buffer)](int64_t i, int64_t n) {
    apply_sgd(update, p + i, g + i, b + i, n);
  });
}

// On a GPU the following are ATen's own elementwise operations. On the CPU these compute the ends of a tensor otherwise than its
// middle, so the bits would depend on where memory is cut.

void make_lamb_direction(const LambUpdate& update, const at::Tensor& param, const at::Tensor& grad, const at::Tensor& exp_avg,
                         const at::Tensor& exp_avg_sq) {
  if (param.is_cuda()) {
    const AdamWUpdate& u = update.adam;
    grad.mul_(u.scale);
    exp_avg.add_(grad - exp_avg, u.one_minus_beta1);
    exp_avg_sq.mul_(u.beta2).addcmul_(grad, grad, u.one_minus_beta2);
    const auto root = exp_avg_sq.sqrt().mul_(u.inverse_root).add_(u.eps);
    grad.copy_(exp_avg / root).mul_(u.step_size).add_(param, update.weight_decay);
    return;
  }
  in_parallel(param, [&, p = data(param), g = data(grad), m = data(exp_avg), v = data(exp_avg_sq)](int64_t i, int64_t n) {
    lamb_direction(update, p + i, g + i, m + i, v + i, n);
  });
}

void update_by_direction(double step_size, const at::Tensor& param, const at::Tensor& direction) {
  const auto factor = static_cast<float>(step_size);
  if (param.is_cuda()) param.sub_(direction, factor);
  else in_parallel(param, [&, p = data(param), d = data(direction)](int64_t i, int64_t n) { apply_direction(factor, p + i, d + i, n); });
}

void pull_towards(const at::Tensor& start, double strength, const at::Tensor& param) {
  const auto factor = static_cast<float>(strength);
  if (param.is_cuda()) param.sub_(param - start, factor);
  else in_parallel(param, [&, p = data(param), s = data(start)](int64_t i, int64_t n) { apply_pull(factor, p + i, s + i, n); });
}

int64_t norm_blocks(Range range) {
  return range.numel() == 0 ? 0 : (range.last - 1) / kNormBlock - range.first / kNormBlock + 1;
}

void block_sums(const at::Tensor& part, int64_t first, const at::Tensor& sums) {
  const int64_t numel = part.numel(), head = std::min(numel, kNormBlock - first % kNormBlock);
  if (part.is_cuda()) {
    if (head > 0) sums_of_squares_on_gpu(part.narrow(0, 0, head), kNormBlock, sums.narrow(0, 0, 1));
    if (head < numel) sums_of_squares_on_gpu(part.narrow(0, head, numel - head), kNormBlock, sums.narrow(0, 1, sums.numel() - 1));
    return;
  }
  double* out = sums.data_ptr<double>();
  at::parallel_for(0, sums.numel(), 16, [&](int64_t from, int64_t to) {
    for (int64_t b = from; b < to; ++b) {
      const int64_t begin = b == 0 ? 0 : head + (b - 1) * kNormBlock, end = std::min(numel, head + b * kNormBlock);
      out[b] = sum_of_squares(data(part) + begin, end - begin);
    }
  });
}

}  // namespace fmtrain
