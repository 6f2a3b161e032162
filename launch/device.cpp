#include "launch/device.h"

#include <ATen/Context.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstdlib>
#include <map>

#include "comm/gpu.h"
#include "comm/nccl_communicator.h"
#include "runtime/errors.h"
#include "runtime/preflight/gather.h"

namespace fmtrain {
namespace {

std::string rank_line(const RankPlace& p) {
  return "\n  rank " + std::to_string(p.rank) + "  " + p.host + "  " + (p.gpu < 0 ? "no GPU" : device_of(p) + "  " + p.uuid);
}

std::string table(const std::vector<RankPlace>& places) {
  constexpr size_t kLines = 32;
  std::string text;
  for (size_t i = 0; i < places.size() && i < kLines; ++i) text += rank_line(places[i]);
  return places.size() > kLines ? text + "\n  and " + std::to_string(places.size() - kLines) + " more" : text;
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

void check_placements(const std::vector<RankPlace>& places, bool shared) {
  std::vector<RankPlace> without;
  std::map<std::string, std::vector<RankPlace>> by_gpu;
  for (const auto& p : places)
    if (p.gpu < 0) without.push_back(p);
    else by_gpu[p.uuid].push_back(p);
  if (!without.empty() && !by_gpu.empty())
    throw ConfigError("some ranks see a GPU and these do not:" + table(without) +
                      "\nstart ranks on hosts with a GPU only, or set engine.device: cpu");
  std::vector<RankPlace> crowded;
  for (const auto& [uuid, ranks] : by_gpu)
    if (ranks.size() > 1) crowded.insert(crowded.end(), ranks.begin(), ranks.end());
  if (crowded.empty() || shared) return;
  throw ConfigError("these ranks share a GPU, and each needs one of its own:" + table(crowded) +
                    "\nstart as many ranks a host as it has GPUs, or set engine.device: cpu");
}

DeviceWorld make_device_world(Device wanted, std::unique_ptr<Communicator> host, int local_rank, const std::string& host_name,
                              bool share_gpus) {
  if (wanted == Device::kCpu) return {std::move(host)};
  const auto gpus = visible_gpus();
  const int gpu = gpu_of(wanted, local_rank, static_cast<int>(gpus.size()));
  RankPlace mine{host->rank(), local_rank, host_name, gpu};
  if (gpu >= 0) mine.uuid = gpus[static_cast<size_t>(gpu)].uuid;
  std::vector<RankPlace> places;
  for (const auto& place : gather_json(*host, place_json(mine))) places.push_back(place_from_json(place));
  check_placements(places, share_gpus && nccl_lets_ranks_share_a_gpu());
  if (gpu < 0) return {std::move(host)};
  make_gpus_deterministic();
  const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(gpu));
  c10::impl::VirtualGuardImpl(device.type()).setDevice(device);  // else every rank also makes a context on GPU 0
  auto comm = host->size() == 1 ? make_single_communicator(device) : make_nccl_communicator(std::move(host), device);
  return {std::move(comm), gpu, device.str()};
}

}  // namespace fmtrain
