#include "launch/device.h"

#include <ATen/Context.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "comm/gather.h"
#include "comm/gpu.h"
#include "comm/nccl_communicator.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

/// A placement as bytes, for the exchange between ranks.
struct Card {
  int32_t rank, gpu;
  char host[64], uuid[56];
};

std::vector<Placement> gathered(Communicator& comm, const Placement& mine) {
  Card card{mine.rank, mine.gpu, {}, {}};
  std::strncpy(card.host, mine.host.c_str(), sizeof card.host - 1);
  std::strncpy(card.uuid, mine.uuid.c_str(), sizeof card.uuid - 1);
  std::vector<Placement> placements;
  for (const auto& row : gather_rows(comm, {reinterpret_cast<const char*>(&card), sizeof card}, sizeof card)) {
    std::memcpy(&card, row.data(), sizeof card);
    placements.push_back({card.rank, card.host, card.gpu, card.uuid});
  }
  return placements;
}

std::string line(const Placement& p) {
  return "\n  rank " + std::to_string(p.rank) + "  " + p.host + "  " +
         (p.gpu < 0 ? "no GPU" : "cuda:" + std::to_string(p.gpu) + "  " + p.uuid);
}

std::string table(const std::vector<Placement>& placements) {
  constexpr size_t kLines = 32;
  std::string text;
  for (size_t i = 0; i < placements.size() && i < kLines; ++i) text += line(placements[i]);
  return placements.size() > kLines ? text + "\n  and " + std::to_string(placements.size() - kLines) + " more" : text;
}

/// The same bits for the same work, and full fp32 in products. Before the first product on a GPU.
void make_gpus_deterministic() {
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/1);
  auto& context = at::globalContext();
  context.setDeterministicAlgorithms(true, /*warn_only=*/false);
  context.setDeterministicFillUninitializedMemory(false);  // every operation here writes what it reads
  context.setDeterministicCuDNN(true);
  context.setBenchmarkCuDNN(false);
  context.setAllowTF32CuBLAS(false);
  context.setAllowTF32CuDNN(false);
  context.setAllowBF16ReductionCuBLAS(false);
  context.setAllowFP16ReductionCuBLAS(false);
}

}  // namespace

int gpu_of(Device wanted, int local_rank, int visible) {
  if (wanted == Device::kCpu || (wanted == Device::kAuto && visible == 0)) return -1;
  if (visible == 0)
    throw ConfigError("engine.device: cuda, but this process sees no GPU (nvidia-smi, CUDA_VISIBLE_DEVICES); use auto or cpu");
  return local_rank % visible;
}

void check_placements(const std::vector<Placement>& placements, bool shared) {
  std::vector<Placement> without;
  std::map<std::string, std::vector<Placement>> by_gpu;
  for (const auto& p : placements)
    if (p.gpu < 0) without.push_back(p);
    else by_gpu[p.uuid].push_back(p);
  if (!without.empty() && !by_gpu.empty())
    throw ConfigError("some ranks see a GPU and these do not:" + table(without) +
                      "\nstart ranks on hosts with a GPU only, or set engine.device: cpu");
  std::vector<Placement> crowded;
  for (const auto& [uuid, ranks] : by_gpu)
    if (ranks.size() > 1) crowded.insert(crowded.end(), ranks.begin(), ranks.end());
  if (crowded.empty() || shared) return;
  throw ConfigError("these ranks share a GPU, and each needs one of its own:" + table(crowded) +
                    "\nstart as many ranks a host as it has GPUs, or set engine.device: cpu");
}

DeviceWorld make_device_world(Device wanted, std::unique_ptr<Communicator> host, int local_rank, const std::string& host_name,
                              bool share_gpus) {
  if (wanted == Device::kCpu) return {std::move(host), "cpu"};
  const auto gpus = visible_gpus();
  const int gpu = gpu_of(wanted, local_rank, static_cast<int>(gpus.size()));
  const Placement mine{host->rank(), host_name, gpu, gpu < 0 ? "" : gpus[static_cast<size_t>(gpu)].uuid};
  check_placements(gathered(*host, mine), share_gpus && nccl_lets_ranks_share_a_gpu());
  if (gpu < 0) return {std::move(host), "cpu"};
  make_gpus_deterministic();
  const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(gpu));
  c10::impl::VirtualGuardImpl(device.type()).setDevice(device);  // else every rank also makes a context on GPU 0
  auto comm = host->size() == 1 ? make_single_communicator(device) : make_nccl_communicator(std::move(host), device);
  return {std::move(comm), device.str()};
}

}  // namespace fmtrain
