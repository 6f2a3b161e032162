#include "runtime/engine/optimizer.h"

#include <torch/torch.h>

#include <algorithm>

#include "models/ops/optimizer_update.h"

namespace fmtrain {
namespace {

/// Elements one thread takes at a time.
constexpr int64_t kGrain = 64 * 1024;

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
  float* p = values.data_ptr<float>() + first;
  const float* g = gradient.data_ptr<float>() + first;
  const auto state = [&](size_t k) { return state_[k].second.data_ptr<float>() + (first - range_.first); };
  const bool adamw = config_.name == OptimizerName::kAdamW;
  const auto a = adamw_update(lr, weight_decay, config_.beta1, config_.beta2, config_.eps, scale, steps_);
  const SgdUpdate s{static_cast<float>(scale), static_cast<float>(weight_decay), static_cast<float>(config_.momentum), static_cast<float>(lr)};
  at::parallel_for(0, last - first, kGrain, [&](int64_t from, int64_t to) {
    if (adamw)
      apply_adamw(a, p + from, g + from, state(0) + from, state(1) + from, to - from);
    else
      apply_sgd(s, p + from, g + from, state(0) + from, to - from);
  });
}

int64_t norm_blocks(const FlatLayout& layout) { return (layout.numel + kNormBlock - 1) / kNormBlock; }

void block_sums(const at::Tensor& gradient, int64_t first, int64_t last, double* sums) {
  const float* data = gradient.data_ptr<float>();
  at::parallel_for(first, last, 1, [&](int64_t from, int64_t to) {
    for (int64_t b = from; b < to; ++b) sums[b] = sum_of_squares(data + b * kNormBlock, std::min(kNormBlock, gradient.numel() - b * kNormBlock));
  });
}

}  // namespace fmtrain
