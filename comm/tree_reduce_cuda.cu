#include "comm/tree_reduce_cuda.h"

#include <algorithm>

namespace fmtrain {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 4096;

template <class T>
__global__ void fold(RankValues<T> x, T* out, int64_t numel, bool maximum) {
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < numel; i += int64_t{gridDim.x} * blockDim.x)
    out[i] = tree_fold(x, i, maximum);
}

}  // namespace

template <class T>
void tree_reduce_cuda(const RankValues<T>& x, T* out, int64_t numel, bool maximum, void* stream) {
  if (numel == 0) return;
  const auto blocks = static_cast<unsigned>(std::min(kMaxBlocks, (numel + kThreads - 1) / kThreads));
  fold<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(x, out, numel, maximum);
}

template void tree_reduce_cuda(const RankValues<float>&, float*, int64_t, bool, void*);
template void tree_reduce_cuda(const RankValues<double>&, double*, int64_t, bool, void*);
template void tree_reduce_cuda(const RankValues<int64_t>&, int64_t*, int64_t, bool, void*);
template void tree_reduce_cuda(const RankValues<int32_t>&, int32_t*, int64_t, bool, void*);

}  // namespace fmtrain
