// MPI's own all-reduce, beside which the one of comm/mpi_communicator.h is measured.
#pragma once
#include <ATen/core/Tensor.h>

namespace fmtrain {

/// Over all ranks, in place, fp32 on the CPU, in whatever order of additions the library likes. Collective; with fewer than 2^31
/// elements. Needs a live MpiSession.
void plain_mpi_all_reduce(at::Tensor buffer);

}  // namespace fmtrain
