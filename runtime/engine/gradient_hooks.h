// From autograd to an engine: the gradient of each parameter, as soon as it is there.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "models/task_model.h"

namespace fmtrain {

/// The parameters that are trained, in the model's order.
std::vector<NamedParameter> trainable(TaskModel& model);
/// Of each of these, whether its gradient comes as bf16.
std::vector<bool> trainable_in_bf16(TaskModel& model);

/// While this lives, `ready(i, gradient)` is called when backward has finished the gradient of trainable(model)[i], dense or sparse, fp32
/// or of the type of the model's products; the gradient is taken away from the parameter. `place` as GradientPlace, of the same numbers.
/// The model must outlive it.
class GradientHooks {
 public:
  GradientHooks(TaskModel& model, const std::function<void(size_t, const at::Tensor&)>& ready, const GradientPlace& place = {});
  ~GradientHooks();
  GradientHooks(const GradientHooks&) = delete;
  GradientHooks& operator=(const GradientHooks&) = delete;

 private:
  TaskModel& model_;
  std::vector<at::Tensor> parameters_;
};

}  // namespace fmtrain
