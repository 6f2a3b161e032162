// On which device each rank works: engine.device and what the hosts have, to a GPU of its own for every rank, or the CPU.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "runtime/config/config.h"
#include "runtime/preflight/places.h"

namespace fmtrain {

/// The GPU of a rank that sees `visible` of them: local_rank modulo visible (a launcher that shows each rank its own gives
/// every rank index 0); -1 for the CPU. Throws ConfigError for Device::kCuda where there is none.
int gpu_of(Device wanted, int local_rank, int visible);

/// All ranks on the CPU, or each on a GPU of its own (`shared`: GPUs may have several). Else ConfigError with a table of the
/// places at fault: rank, host, device.
void check_placements(const std::vector<RankPlace>& places, bool shared);

struct DeviceWorld {
  std::unique_ptr<Communicator> comm;  ///< for the tensors of the device
  int gpu = -1;                        ///< index among the GPUs that the rank sees; -1: the CPU
  std::string device = "cpu";          ///< or "cuda:N"
};

/// Collective over `host`. `share_gpus`: a GPU may have several ranks, where NCCL can do that. For a GPU also: deterministic
/// algorithms, no TF32, cuBLAS with a fixed workspace. Throws
/// ConfigError, and CommError when NCCL fails. Device::kCpu touches no driver.
DeviceWorld make_device_world(Device wanted, std::unique_ptr<Communicator> host, int local_rank, const std::string& host_name,
                              bool share_gpus = false);

}  // namespace fmtrain
