// What stands in for NCCL and the GPUs in a build without CUDA.
#include "comm/errors.h"
#include "comm/gpu.h"
#include "comm/nccl_communicator.h"

namespace fmtrain {

std::vector<Gpu> visible_gpus() { return {}; }

bool load_gpu_operations() { return false; }

bool nccl_lets_ranks_share_a_gpu() { return false; }

std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator>, at::Device, const NcclOptions&) {
  throw CommError("this build has no CUDA: build it where a CUDA toolkit is found");
}

}  // namespace fmtrain
