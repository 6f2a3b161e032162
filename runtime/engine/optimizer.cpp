#include "runtime/engine/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

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

Optimizer::Optimizer(const OptimizerSection& config, const FlatLayout& layout, std::vector<Range> owned, at::TensorOptions options)
    : config_(config), layout_(layout), owned_(std::move(owned)) {
  int64_t numel = 0;
  for (const auto& range : owned_) numel += range.numel();
  const auto names = config.name == OptimizerName::kAdamW ? std::vector<std::string>{"exp_avg/", "exp_avg_sq/"} : std::vector<std::string>{"momentum/"};
  for (const auto& name : names) state_.emplace_back(name, at::zeros({numel}, options.dtype(at::kFloat)));
}

void Optimizer::step(const at::Tensor& values, const std::vector<at::Tensor>& gradients, double lr, double scale) {
  TORCH_CHECK(gradients.size() == owned_.size(), gradients.size(), " gradients for ", owned_.size(), " ranges");
  ++steps_;
  int64_t at_state = 0;
  for (size_t i = 0; i < owned_.size(); ++i) {
    const Range& range = owned_[i];
    for (const auto& t : layout_.tensors) {
      const Range part{std::max(t.offset, range.first), std::min(t.offset + t.numel, range.last)};
      if (part.first >= part.last) continue;
      update(values, gradients[i].narrow(0, part.first - range.first, part.numel()), part, at_state + part.first - range.first, lr, scale,
             t.decays ? config_.weight_decay : 0.0);
    }
    at_state += range.numel();
  }
}

void Optimizer::update(const at::Tensor& values, const at::Tensor& gradient, Range part, int64_t at_state, double lr, double scale, double weight_decay) {
  const bool adamw = config_.name == OptimizerName::kAdamW;
  const auto u = updates_of(config_, lr, scale, weight_decay, steps_);
  const auto value = values.narrow(0, part.first, part.numel());
  const auto state = [&](size_t k) { return state_[k].second.narrow(0, at_state, part.numel()); };
  if (values.is_cuda()) {
    if (adamw) return adamw_on_gpu(u.adamw, value, gradient, state(0), state(1));
    return sgd_on_gpu(u.sgd, value, gradient, state(0));
  }
  float* p = value.data_ptr<float>();
  const float* g = gradient.data_ptr<float>();
  float* first = state(0).data_ptr<float>();
  float* second = adamw ? state(1).data_ptr<float>() : nullptr;
  at::parallel_for(0, part.numel(), kGrain, [&](int64_t from, int64_t to) {
    if (adamw) apply_adamw(u.adamw, p + from, g + from, first + from, second + from, to - from);
    else apply_sgd(u.sgd, p + from, g + from, first + from, to - from);
  });
}

StateDict optimizer_state(const FlatLayout& layout, const at::Tensor& values, const Optimizer& optimizer, const std::vector<Range>& wanted) {
  StateDict dict;
  for (const auto& range : wanted) append_pieces(dict.pieces, "param/", layout, range, values, 0);
  for (const auto& [prefix, state] : optimizer.state()) {
    int64_t at_state = 0;
    for (const auto& owned : optimizer.owned()) {
      for (const auto& range : wanted)
        append_pieces(dict.pieces, prefix, layout, {std::max(range.first, owned.first), std::min(range.last, owned.last)}, state, owned.first - at_state);
      at_state += owned.numel();
    }
  }
  dict.small["optimizer_steps"] = optimizer.steps();
  return dict;
}

int64_t norm_blocks(const FlatLayout& layout) { return (layout.numel + kNormBlock - 1) / kNormBlock; }

void block_sums(const at::Tensor& part, double* sums) {
  const int64_t blocks = (part.numel() + kNormBlock - 1) / kNormBlock;
  if (blocks == 0) return;
  if (part.is_cuda()) {
    const auto values = sums_of_squares_on_gpu(part, kNormBlock);
    std::copy_n(values.data_ptr<double>(), blocks, sums);
    return;
  }
  const float* data = part.data_ptr<float>();
  at::parallel_for(0, blocks, 16, [&](int64_t from, int64_t to) {
    for (int64_t b = from; b < to; ++b) sums[b] = sum_of_squares(data + b * kNormBlock, std::min(kNormBlock, part.numel() - b * kNormBlock));
  });
}

}  // namespace fmtrain
