#include "runtime/engine/gradient_hooks.h"

#include <torch/autograd.h>

namespace fmtrain {
namespace {

class Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit Hook(std::function<void(const at::Tensor&)> ready) : ready_(std::move(ready)) {}
  void operator()(const torch::autograd::Variable& parameter) override {
    const at::NoGradGuard no_grad;
    ready_(parameter.grad());
    parameter.mutable_grad().reset();
  }

 private:
  std::function<void(const at::Tensor&)> ready_;
};

}  // namespace

std::vector<NamedParameter> trainable(TaskModel& model) {
  std::vector<NamedParameter> result;
  for (const auto& p : model.parameters())
    if (p.value.requires_grad()) result.push_back(p);
  return result;
}

GradientHooks::GradientHooks(const std::vector<NamedParameter>& parameters, const std::function<void(size_t, const at::Tensor&)>& ready) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    parameters_.push_back(parameters[i].value);
    const auto hook = [ready, i](const at::Tensor& gradient) { ready(i, gradient); };
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_.back(), std::make_unique<Hook>(hook));
  }
}

GradientHooks::~GradientHooks() {
  for (const auto& p : parameters_) torch::autograd::impl::set_post_acc_grad_hooks(p, nullptr);
}

}  // namespace fmtrain
