#include "runtime/engine/gradient_hooks.h"

#include <torch/autograd.h>

namespace fmtrain {
namespace {

class Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit Hook(std::function<void(const at::Tensor&)> ready) : ready_(std::move(ready)) {}
  void operator()(const torch::autograd::Variable& parameter) override {
    const at::NoGradGuard no_grad;
    if (!parameter.grad().defined()) return;  // it went to the sink
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

std::vector<bool> trainable_in_bf16(TaskModel& model) {
  std::vector<bool> result;
  for (size_t i = 0; i < model.parameters().size(); ++i)
    if (model.parameters()[i].value.requires_grad()) result.push_back(model.sends_bf16(i));
  return result;
}

GradientHooks::GradientHooks(TaskModel& model, const std::function<void(size_t, const at::Tensor&)>& ready, const GradientPlace& place)
    : model_(model) {
  std::vector<size_t> number;  // of each parameter of the model among those that are trained
  for (const auto& p : model.parameters()) {
    number.push_back(parameters_.size());
    if (!p.value.requires_grad()) continue;
    const auto hook = [ready, i = parameters_.size()](const at::Tensor& gradient) { ready(i, gradient); };
    parameters_.push_back(p.value);
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_.back(), std::make_unique<Hook>(hook));
  }
  const auto sink = [ready, number](size_t parameter, const at::Tensor& gradient) {
    const at::NoGradGuard no_grad;
    ready(number[parameter], gradient);
  };
  const auto placed = [place, number](size_t parameter) { return place(number[parameter]); };
  model.send_gradients(sink, place ? GradientPlace(placed) : GradientPlace());
}

GradientHooks::~GradientHooks() {
  model_.send_gradients({});
  for (const auto& p : parameters_) torch::autograd::impl::set_post_acc_grad_hooks(p, nullptr);
}

}  // namespace fmtrain
