#include "runtime/engine/optimizer.h"

#include <torch/torch.h>

#include <algorithm>

#include "models/ops/on_gpu.h"
#include "models/ops/optimizer_update.h"

namespace fmtrain {
namespace {

/// Elements one thread takes at a time.
constexpr int64_t kGrain = 64 * 1024;

/// What the update of one range of elements needs besides memory.
struct Updates {
  AdamWUpdate adamw;
  SgdUpdate sgd;
};

Updates updates_of(const OptimizerSection& c, double lr, double scale, double weight_decay, int64_t steps) {
  return {adamw_update(lr, weight_decay, c.beta1, c.beta2, c.eps, scale, steps),
          {static_cast<float>(scale), static_cast<float>(weight_decay), static_cast<float>(c.momentum),
           static_cast<float>(lr)}};
}

}  // namespace

Optimizer::Optimizer(const OptimizerSection& config, const FlatLayout& layout, std::pair<int64_t, int64_t> range, at::TensorOptions options)
    : config_(config), layout_(layout), range_(range) {
  const auto names = config.name == OptimizerName::kAdamW ? std::vector<std::string>{"exp_avg/", "exp_avg_sq/"} : std::vector<std::string>{"momentum/"};
  for (const auto& name : names) state_.emplace_back(name, at::zeros({range.second - range.first}, options.dtype(at::kFloat)));
}

void Optimizer::step(const at::Tensor& values, const at::Tensor& gradient, double lr, double scale) {
  ++steps_;
  for (const auto& t : layout_.tensors) {
    const int64_t first = std::max(t.offset, range_.first), last = std::min(t.offset + t.numel, range_.second);
    if (first < last) update(values, gradient, first, last, lr, scale, t.decays ? config_.weight_decay : 0.0);
  }
}

void Optimizer::update(const at::Tensor& values, const at::Tensor& gradient, int64_t first, int64_t last, double lr, double scale, double weight_decay) {
  const bool adamw = config_.name == OptimizerName::kAdamW;
  const auto u = updates_of(config_, lr, scale, weight_decay, steps_);
  if (values.is_cuda()) {
    const auto part = [&](const at::Tensor& t, int64_t at) { return t.narrow(0, at, last - first); };
    const auto state = [&](size_t k) { return part(state_[k].second, first - range_.first); };
    if (adamw) return adamw_on_gpu(u.adamw, part(values, first), part(gradient, first), state(0), state(1));
    return sgd_on_gpu(u.sgd, part(values, first), part(gradient, first), state(0));
  }
  float* p = values.data_ptr<float>() + first;
  const float* g = gradient.data_ptr<float>() + first;
  const auto state = [&](size_t k) { return state_[k].second.data_ptr<float>() + (first - range_.first); };
  at::parallel_for(0, last - first, kGrain, [&](int64_t from, int64_t to) {
    if (adamw)
      apply_adamw(u.adamw, p + from, g + from, state(0) + from, state(1) + from, to - from);
    else
      apply_sgd(u.sgd, p + from, g + from, state(0) + from, to - from);
  });
}

int64_t norm_blocks(const FlatLayout& layout) { return (layout.numel + kNormBlock - 1) / kNormBlock; }

void block_sums(const at::Tensor& gradient, int64_t first, int64_t last, double* sums) {
  if (gradient.is_cuda()) {
    if (first == last) return;
    const int64_t begin = first * kNormBlock, end = std::min(last * kNormBlock, gradient.numel());
    const auto values = sums_of_squares_on_gpu(gradient.narrow(0, begin, end - begin), kNormBlock);
    std::copy_n(values.data_ptr<double>(), last - first, sums + first);
    return;
  }
  const float* data = gradient.data_ptr<float>();
  at::parallel_for(first, last, 1, [&](int64_t from, int64_t to) {
    for (int64_t b = from; b < to; ++b) sums[b] = sum_of_squares(data + b * kNormBlock, std::min(kNormBlock, gradient.numel() - b * kNormBlock));
  });
}

}  // namespace fmtrain
