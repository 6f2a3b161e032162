// What stands in for the GPU operations in a build without CUDA.
#include <ATen/ATen.h>

#include "models/ops/on_gpu.h"

namespace fmtrain {
namespace {

[[noreturn]] void refuse() { TORCH_CHECK(false, "a tensor on a GPU in a build without CUDA"); }

}  // namespace

at::Tensor mask_rows_on_gpu(const at::Tensor&, const at::Tensor&, const at::Tensor&, const DropoutKey&) { refuse(); }
at::Tensor attention_dropout_on_gpu(const at::Tensor&, uint32_t, const DropoutKey&) { refuse(); }
void adamw_on_gpu(const AdamWUpdate&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&) { refuse(); }
void sgd_on_gpu(const SgdUpdate&, const at::Tensor&, const at::Tensor&, const at::Tensor&) { refuse(); }
void sums_of_squares_on_gpu(const at::Tensor&, int64_t, const at::Tensor&) { refuse(); }

}  // namespace fmtrain
