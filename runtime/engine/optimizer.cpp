#include "runtime/engine/optimizer.h"

#include <torch/torch.h>

#include <algorithm>

#include "models/ops/optimizer_update.h"

namespace fmtrain {
namespace {

/// Elements one thread takes at a time.
constexpr int64_t kGrain = 64 * 1024;

void block_sums_on_gpu(const at::Tensor& gradient, int64_t first, int64_t last, double* sums) {
  std::vector<at::Tensor> norms;
  for (int64_t b = first; b < last; ++b) {
    const auto block = gradient.narrow(0, b * kNormBlock, std::min(kNormBlock, gradient.numel() - b * kNormBlock));
    norms.push_back(at::linalg_vector_norm(block, 2, at::OptionalIntArrayRef(), false, at::kDouble).square());
  }
  if (norms.empty()) return;
  const auto values = at::stack(norms).cpu();
  std::copy_n(values.data_ptr<double>(), norms.size(), sums + first);
}

}  // namespace

Optimizer::Optimizer(const OptimizerSection& config, const FlatLayout& layout, std::pair<int64_t, int64_t> range, at::TensorOptions options)
    : config_(config), layout_(layout), range_(range) {
  const auto names = config.name == OptimizerName::kAdamW ? std::vector<std::string>{"exp_avg/", "exp_avg_sq/"} : std::vector<std::string>{"momentum/"};
  for (const auto& name : names) state_.emplace_back(name, at::zeros({range.second - range.first}, options.dtype(at::kFloat)));
}

void Optimizer::step(const at::Tensor& values, const at::Tensor& gradient, double lr, double scale) {
  ++steps_;
  if (values.is_cuda()) return step_on_gpu(values, gradient, lr, scale);
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

void Optimizer::step_on_gpu(const at::Tensor& values, const at::Tensor& gradient, double lr, double scale) {
  gradient.narrow(0, range_.first, range_.second - range_.first).mul_(scale);
  for (const bool decays : {true, false}) {
    std::vector<at::Tensor> lists[4], steps;  // values, gradients and the two moments of one group
    for (const auto& t : layout_.tensors) {
      const int64_t first = std::max(t.offset, range_.first), count = std::min(t.offset + t.numel, range_.second) - first;
      if (t.decays != decays || count <= 0) continue;
      lists[0].push_back(values.narrow(0, first, count));
      lists[1].push_back(gradient.narrow(0, first, count));
      for (size_t k = 0; k < state_.size(); ++k) lists[2 + k].push_back(state_[k].second.narrow(0, first - range_.first, count));
      steps.push_back(at::full({}, static_cast<double>(steps_), values.options()));
    }
    if (steps.empty()) continue;
    const double decay = decays ? config_.weight_decay : 0.0;
    if (config_.name == OptimizerName::kAdamW)
      at::_fused_adamw_(lists[0], lists[1], lists[2], lists[3], {}, steps, lr, config_.beta1, config_.beta2, decay, config_.eps, false, false, {}, {});
    else
      at::_fused_sgd_(lists[0], lists[1], lists[2], decay, config_.momentum, lr, 0.0, false, false, false, {}, {});
  }
}

int64_t norm_blocks(const FlatLayout& layout) { return (layout.numel + kNormBlock - 1) / kNormBlock; }

void block_sums(const at::Tensor& gradient, int64_t first, int64_t last, double* sums) {
  if (gradient.is_cuda()) return block_sums_on_gpu(gradient, first, last, sums);
  const float* data = gradient.data_ptr<float>();
  at::parallel_for(first, last, 1, [&](int64_t from, int64_t to) {
    for (int64_t b = from; b < to; ++b) sums[b] = sum_of_squares(data + b * kNormBlock, std::min(kNormBlock, gradient.numel() - b * kNormBlock));
  });
}

}  // namespace fmtrain
