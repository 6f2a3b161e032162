#include "models/ops/gpu_kernels.h"

namespace fmtrain::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 20;

unsigned blocks_for(int64_t numel) {
  const int64_t blocks = (numel + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

__device__ int64_t first_index() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ int64_t stride() { return int64_t{gridDim.x} * blockDim.x; }

__global__ void adamw(AdamWUpdate u, float* param, const float* grad, float* exp_avg, float* exp_avg_sq, int64_t numel) {
  for (int64_t i = first_index(); i < numel; i += stride()) {
    const float g = u.scale * grad[i];
    const float m = exp_avg[i] + u.one_minus_beta1 * (g - exp_avg[i]);
    const float v = u.beta2 * exp_avg_sq[i] + u.one_minus_beta2 * g * g;
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    param[i] = u.decay * param[i] - u.step_size * (m / (sqrtf(v) * u.inverse_root + u.eps));
  }
}

__global__ void sgd(SgdUpdate u, float* param, const float* grad, float* buffer, int64_t numel) {
  for (int64_t i = first_index(); i < numel; i += stride()) {
    const float g = u.scale * grad[i] + u.weight_decay * param[i];
    buffer[i] = u.momentum * buffer[i] + g;
    param[i] -= u.lr * buffer[i];
  }
}

/// A thread block a block of data: each thread adds every kThreads-th square, then a binary tree over the threads.
__global__ void squares(const float* data, int64_t numel, int64_t block, double* sums) {
  __shared__ double partial[kThreads];
  const int64_t first = blockIdx.x * block, last = first + block < numel ? first + block : numel;
  double sum = 0;
  for (int64_t i = first + threadIdx.x; i < last; i += kThreads) sum += double{data[i]} * data[i];
  partial[threadIdx.x] = sum;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = partial[0];
}

}  // namespace

void apply_adamw(const AdamWUpdate& update, float* param, const float* grad, float* exp_avg, float* exp_avg_sq, int64_t numel,
                 void* stream) {
  if (numel > 0)
    adamw<<<blocks_for(numel), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(update, param, grad, exp_avg, exp_avg_sq,
                                                                                 numel);
}

void apply_sgd(const SgdUpdate& update, float* param, const float* grad, float* buffer, int64_t numel, void* stream) {
  if (numel > 0) sgd<<<blocks_for(numel), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(update, param, grad, buffer, numel);
}

void sums_of_squares(const float* data, int64_t numel, int64_t block, int64_t blocks, double* sums, void* stream) {
  if (blocks > 0)
    squares<<<static_cast<unsigned>(blocks), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(data, numel, block, sums);
}

}  // namespace fmtrain::gpu
