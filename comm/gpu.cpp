#include "comm/gpu.h"

#include <ATen/Context.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <dlfcn.h>
#include <nccl.h>

#include <cstdio>

#include "comm/errors.h"

namespace fmtrain {
namespace {

/// NCCL from which several ranks of a communicator may use one device.
constexpr int kSharingNccl = NCCL_VERSION(2, 30, 0);

std::string text(const cudaUUID_t& uuid) {
  std::string result = "GPU-";
  for (int i = 0; i < 16; ++i) {
    char hex[4];
    std::snprintf(hex, sizeof hex, "%02x", static_cast<unsigned char>(uuid.bytes[i]));
    if (i == 4 || i == 6 || i == 8 || i == 10) result += '-';
    result += hex;
  }
  return result;
}

}  // namespace

std::vector<Gpu> visible_gpus() {
  std::vector<Gpu> gpus;
  if (c10::cuda::device_count() > 0) load_gpu_operations();
  for (int i = 0; i < c10::cuda::device_count(); ++i) {
    cudaDeviceProp properties{};
    C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, i));
    gpus.push_back({properties.name, text(properties.uuid), static_cast<int64_t>(properties.totalGlobalMem)});
  }
  return gpus;
}

bool load_gpu_operations() {
  if (!::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL))
    throw CommError(std::string("there is a GPU, but LibTorch's operations for it cannot be loaded (") + ::dlerror() +
                    "); put LibTorch's lib folder into LD_LIBRARY_PATH, or hide the GPU with CUDA_VISIBLE_DEVICES=\"\"");
  TORCH_CHECK(at::Context::hasCUDART(), "LibTorch was asked about GPUs before its operations for them were loaded");
  return true;
}

bool nccl_lets_ranks_share_a_gpu() {
  int version = 0;
  return ncclGetVersion(&version) == ncclSuccess && version >= kSharingNccl;
}

}  // namespace fmtrain
