#include "models/ops/gpu_kernels.h"

namespace fmtrain::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 20;

template <class Rows>
__global__ void multiply(Mask mask, Rows which, const float* x, float* y, int64_t features, int64_t work) {
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < work; i += int64_t{gridDim.x} * blockDim.x)
    multiply_block(mask, which, x, y, features, i);
}

}  // namespace

template <class Rows>
void multiply_by_mask(const Mask& mask, const Rows& which, const float* x, float* y, int64_t rows, int64_t features,
                      void* stream) {
  const int64_t work = rows * ((features + 7) / 8), blocks = (work + kThreads - 1) / kThreads;
  if (work == 0) return;
  multiply<<<static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks), kThreads, 0,
             static_cast<cudaStream_t>(stream)>>>(mask, which, x, y, features, work);
}

template void multiply_by_mask(const Mask&, const TableRows&, const float*, float*, int64_t, int64_t, void*);
template void multiply_by_mask(const Mask&, const SquareRows&, const float*, float*, int64_t, int64_t, void*);

}  // namespace fmtrain::gpu
