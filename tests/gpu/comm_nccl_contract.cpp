// The contract of communicators over NCCL, and a world of one on a GPU. Started by mpirun, a rank a GPU, or alone without MPI.
#include <ATen/ATen.h>

#include <cstdio>
#include <optional>

#include "comm/mpi_communicator.h"
#include "comm/nccl_communicator.h"
#include "tests/gpu/needs_gpu.h"
#include "tests/multirank/comm_contract.h"

namespace {

using namespace fmtrain;

std::optional<MpiSession> session;
size_t gpus = 0;

/// Rank 0 prints as always, the others only what fails.
class FailuresOnly : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.failed())
      std::fprintf(stderr, "rank %d: %s:%d: %s\n", session->rank(), result.file_name() ? result.file_name() : "",
                   result.line_number(), result.message());
  }
};

Backend nccl(const std::string& name, int64_t scratch_bytes) {
  const auto run = [scratch_bytes](const std::function<void(Communicator&)>& body) {
    const size_t local = session ? static_cast<size_t>(session->local_rank()) : 0;
    const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(local % gpus));
    const c10::DeviceGuard guard(device);
    MpiOptions mpi;
    mpi.wait_limit = std::chrono::seconds(60);
    auto host = session ? make_mpi_communicator(*session, mpi) : make_single_communicator();
    const auto comm = make_nccl_communicator(std::move(host), device, {std::chrono::seconds(60), scratch_bytes});
    body(*comm);
  };
  return {.name = name, .run = run, .device = at::kCUDA};
}

}  // namespace

std::vector<Backend> fmtrain::backends() {
  std::vector<Backend> all{nccl("nccl", NcclOptions{}.scratch_bytes), nccl("nccl_in_small_pieces", 1000)};
  if (session && session->size() > 1) return all;
  all.push_back({.name = "single_on_gpu",
                 .run = [](const auto& body) { body(*make_single_communicator(at::Device(at::kCUDA, 0))); },
                 .device = at::kCUDA});
  return all;
}

int main(int argc, char** argv) {
  if (std::getenv("OMPI_COMM_WORLD_SIZE")) session.emplace();
  gpus = visible_gpus().size();
  testing::InitGoogleTest(&argc, argv);
  if (session && session->rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailuresOnly);
  }
  const int needed = session && !(std::getenv("NCCL_MULTI_RANK_GPU_ENABLE") && nccl_lets_ranks_share_a_gpu()) ? session->local_size() : 1;
  const int result = run_tests_with_gpus(static_cast<size_t>(needed));
  session.reset();
  return result;
}
