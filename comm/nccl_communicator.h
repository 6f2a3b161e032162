// Collectives over NCCL for the tensors of a GPU; tensors on the CPU and barriers go to the host's communicator (MPI), which
// also carries NCCL's first message and notices ended and silent ranks.
//
// kTreeSum and kMax: an all-to-all of shards (the bytes of a reduce-scatter) into a scratch buffer, then one kernel that adds
// the ranks' values in the fixed order, with the bits of the CPU's tree; all_reduce then spreads the sums. kSum: NCCL's own
// reduction. Everything runs on one stream of high priority, which waits for the caller's current stream; Work::wait() makes
// the caller's current stream wait for it, not the host.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>

#include "comm/communicator.h"

namespace fmtrain {

struct NcclOptions {
  /// Longest wait for another rank: when the world is made, in a barrier, and until a call has reached the GPU.
  std::chrono::duration<double> wait_limit = std::chrono::seconds(600);
  /// Bytes that come in from other ranks at a time in a reduction of fixed order.
  int64_t scratch_bytes = int64_t{64} << 20;
};

/// Collective. One rank for every rank of `host`; `device` is a CUDA device with its index, of this rank alone (several ranks
/// may share one from NCCL 2.30 on with NCCL_MULTI_RANK_GPU_ENABLE=1). allocate() gives memory of that device.
/// Throws CommError when the library is older than the header this was built with, when NCCL cannot connect the devices, and
/// in a build without CUDA. Any later call may throw PeerDied (NCCL lost a rank), PeerSilent (a rank did not come within the
/// limit) or CommError (what else NCCL reports); NCCL's work is aborted then, and every call after it throws the same.
/// A kernel that waits for a rank which never comes blocks the GPU, not the host: the next barrier finds out.
/// The destructor is collective except after a failure or while an exception unwinds.
std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> host, at::Device device,
                                                     const NcclOptions& options = {});

}  // namespace fmtrain
