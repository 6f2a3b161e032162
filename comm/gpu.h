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

/// By device index. Empty without a driver, without a device, or in a build without CUDA.
std::vector<Gpu> visible_gpus();

/// NCCL is 2.30 or newer: several ranks may use one GPU when NCCL_MULTI_RANK_GPU_ENABLE=1 is set.
bool nccl_lets_ranks_share_a_gpu();

}  // namespace fmtrain
