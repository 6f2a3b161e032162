// The GPUs that this process sees. Asking loads the driver but makes no context on a device.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace fmtrain {

struct Gpu {
  std::string name;
  std::string uuid;  ///< "GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", as nvidia-smi -L prints it
  int64_t memory = 0;  ///< bytes, whoever holds them
};

/// By device index. Empty without a driver, without a device, or in a build without CUDA. Where there is one, calls
/// load_gpu_operations(): ask before the first use of a GPU. Throws CommError.
std::vector<Gpu> visible_gpus();

/// LibTorch's operations for GPUs, from libtorch_cuda, which is not linked: it takes 350 MB and 0.1 s of a process. False in a build
/// without CUDA. LibTorch settles at its first question about GPUs whether it has any, hence early. Throws CommError.
bool load_gpu_operations();

/// NCCL is 2.30 or newer: several ranks may use one GPU when NCCL_MULTI_RANK_GPU_ENABLE=1 is set.
bool nccl_lets_ranks_share_a_gpu();

}  // namespace fmtrain
