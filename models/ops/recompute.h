// Activation checkpointing (Chen et al., "Training deep nets with sublinear memory cost", 2016): a segment of a model keeps its input
// only, and is computed once more in backward.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>

namespace fmtrain {

/// segment(x), of which the graph keeps x alone. Backward runs the segment again, so it must be a function of x, of parameters that
/// do not change before backward, and of nothing else; then all gradients have the bits they have without. Hooks of parameters
/// run inside that second pass. Without gradients wanted it is segment(x).
at::Tensor recomputed(const at::Tensor& x, std::function<at::Tensor(const at::Tensor&)> segment);

}  // namespace fmtrain
