#include "comm/plain_mpi.h"

#include <mpi.h>
#include <ATen/ATen.h>

namespace fmtrain {

void plain_mpi_all_reduce(at::Tensor buffer) {
  TORCH_CHECK(buffer.is_contiguous() && buffer.scalar_type() == at::kFloat && buffer.numel() <= INT32_MAX, "fp32, contiguous, below 2^31");
  MPI_Allreduce(MPI_IN_PLACE, buffer.data_ptr(), static_cast<int>(buffer.numel()), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

}  // namespace fmtrain
