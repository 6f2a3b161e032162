// From autograd to an engine: the gradient of each parameter, as soon as it is there.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "models/task_model.h"

namespace fmtrain {

/// The parameters that are trained, in the model's order.
std::vector<NamedParameter> trainable(TaskModel& model);

/// While this lives, `ready(i, gradient)` is called when backward has finished the gradient of parameter i, dense or sparse; the
/// gradient is taken away from the parameter.
class GradientHooks {
 public:
  GradientHooks(const std::vector<NamedParameter>& parameters, const std::function<void(size_t, const at::Tensor&)>& ready);
  ~GradientHooks();
  GradientHooks(const GradientHooks&) = delete;
  GradientHooks& operator=(const GradientHooks&) = delete;

 private:
  std::vector<at::Tensor> parameters_;
};

}  // namespace fmtrain
