#include "comm/nccl_communicator.h"

#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <nccl.h>
#include <ATen/ATen.h>

#include <cstring>
#include <exception>
#include <thread>

#include "comm/arguments.h"
#include "comm/errors.h"
#include "comm/tree_reduce_cuda.h"

namespace fmtrain {
namespace {

using Clock = std::chrono::steady_clock;

/// A wait gives the core away for this long, then sleeps between two looks.
constexpr std::chrono::microseconds kGpuYield{2000}, kGpuNap{50};

std::string version_text(int code) { return c10::str(code / 10000, ".", code / 100 % 100, ".", code % 100); }

/// The first libnccl in the process wins, and it need not be the one of the header.
void check_version() {
  int loaded = 0;
  if (ncclGetVersion(&loaded) == ncclSuccess && loaded >= NCCL_VERSION_CODE && loaded / 10000 == NCCL_MAJOR) return;
  throw CommError(c10::str("NCCL ", version_text(loaded), " is loaded but this program needs ", version_text(NCCL_VERSION_CODE),
                           " or a newer ", NCCL_MAJOR,
                           ".x: put the nvidia/nccl/lib of LibTorch's wheel first in LD_LIBRARY_PATH"));
}

ncclDataType_t nccl_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kLong:
      return ncclInt64;
    case at::kInt:
      return ncclInt32;
    default:
      TORCH_CHECK(false, "no reduction for ", type);
  }
}

/// One rank's part of a buffer.
struct Part {
  int64_t first, count;
};  ///< elements

/// `first` .. `first + count` in nearly equal parts, one a rank.
std::vector<Part> equal_parts(int64_t first, int64_t count, int size) {
  std::vector<Part> parts;
  for (int64_t r = 0; r < size; ++r) parts.push_back({first + r * count / size, (r + 1) * count / size - r * count / size});
  return parts;
}

char* at_element(const at::Tensor& t, int64_t element) { return static_cast<char*>(t.data_ptr()) + element * t.element_size(); }

class NcclCommunicator final : public Communicator {
 public:
  /// `owned` is `host`, or nobody where another one owns it.
  NcclCommunicator(Communicator& host, std::unique_ptr<Communicator> owned, at::Device device, const NcclOptions& options)
      : owned_(std::move(owned)), host_(&host), device_(device), options_(options), exceptions_(std::uncaught_exceptions()),
        queue_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index())) {
    check_version();
    const c10::cuda::CUDAGuard guard(device_);
    connect();
  }

  ~NcclCommunicator() override {
    if (std::uncaught_exceptions() > exceptions_) abort();
    if (!comm_) return;
    parts_.clear();
    try {
      const c10::cuda::CUDAGuard guard(device_);
      settle(ncclCommFinalize(comm_), "the end of the world");
      ncclCommDestroy(comm_);
    } catch (...) {  // settle() has aborted; the program ends anyway
    }
  }

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  std::vector<int> nodes() const override { return host_->nodes(); }
  /// The id of the new one goes by the host's part.
  Communicator& split(int color, Group group) override {
    check_health();
    return *parts_.emplace_back(std::make_unique<NcclCommunicator>(host_->split(color, group), nullptr, device_, options_));
  }
  uint64_t meetings() const override { return host_->meetings(); }
  std::string awaited() const override { return host_->awaited(); }

  at::Tensor allocate(int64_t numel, at::ScalarType dtype) override {
    check_numel(numel);
    return at::zeros({numel}, at::device(device_).dtype(dtype));  // blocks of the allocator begin at multiples of 512 bytes
  }

  at::Tensor allocate_shared(int64_t numel, at::ScalarType dtype) override { return allocate(numel, dtype); }  // a GPU a rank
  Work all_reduce(at::Tensor buffer, ReduceOp op) override {
    if (on_host(buffer)) return host_->all_reduce(buffer, op);
    check_reducible(buffer, at::kCUDA);
    check_device(buffer);
    return issue(buffer.numel(), [&] {
      if (op == ReduceOp::kSum) return all_reduce_by_nccl(buffer);
      const int64_t step = std::max<int64_t>(options_.scratch_bytes / buffer.element_size(), size());
      for (int64_t first = 0; first < buffer.numel(); first += step) {
        const auto parts = equal_parts(first, std::min(step, buffer.numel() - first), size());
        reduce(buffer, parts, at_element(buffer, mine(parts).first), op);
        spread(buffer, parts);
      }
    });
  }

  Work reduce_scatter(at::Tensor shard, at::Tensor full, ReduceOp op) override {
    if (on_host(full)) return host_->reduce_scatter(shard, full, op);
    check_reduced_shard(full, shard, size(), at::kCUDA);
    check_device(full);
    check_device(shard);
    return issue(full.numel(), [&] {
      if (op == ReduceOp::kSum) return reduce_scatter_by_nccl(shard, full);
      const int64_t step = std::max<int64_t>(options_.scratch_bytes / full.element_size() / size(), 1);
      for (int64_t first = 0; first < shard.numel(); first += step) {
        std::vector<Part> parts;
        for (int r = 0; r < size(); ++r) parts.push_back({r * shard.numel() + first, std::min(step, shard.numel() - first)});
        reduce(full, parts, at_element(shard, first), op);
      }
    });
  }

  Work all_gather(at::Tensor full, at::Tensor shard) override {
    if (on_host(full)) return host_->all_gather(full, shard);
    check_shard(full, shard, size(), at::kCUDA);
    check_device(full);
    check_device(shard);
    return issue(full.numel(), [&] {
      settle(ncclAllGather(shard.data_ptr(), full.data_ptr(), shard.nbytes(), ncclInt8, comm_, stream()), "all_gather");
    });
  }

  Work broadcast(at::Tensor buffer, int root) override {
    check_root(root, size());
    if (on_host(buffer)) return host_->broadcast(buffer, root);
    check_buffer(buffer, at::kCUDA);
    check_device(buffer);
    return issue(buffer.numel(), [&] {
      settle(ncclBroadcast(buffer.data_ptr(), buffer.data_ptr(), buffer.nbytes(), ncclInt8, root, comm_, stream()),
             "broadcast");
    });
  }

  void barrier() override {
    check_health();
    await([this] { return queue_.query(); }, "barrier");
    host_->barrier();
  }

 private:
  static bool on_host(const at::Tensor& t) { return t.defined() && t.is_cpu(); }
  void check_device(const at::Tensor& t) const {
    TORCH_CHECK(t.device() == device_, "a tensor on ", t.device(), " for a rank on ", device_);
  }
  cudaStream_t stream() const { return queue_.stream(); }
  const Part& mine(const std::vector<Part>& parts) const { return parts[static_cast<size_t>(rank())]; }

  // ---- the world: made, watched, ended -----------------------------------------------------------

  void connect() {
    auto id = at::zeros({static_cast<int64_t>(sizeof(ncclUniqueId))}, at::kByte);
    ncclUniqueId unique{};
    if (rank() == 0) {
      if (const auto result = ncclGetUniqueId(&unique); result != ncclSuccess)
        throw CommError(c10::str("NCCL finds no network interface: ", ncclGetErrorString(result)));
      std::memcpy(id.data_ptr(), &unique, sizeof unique);
    }
    host_->broadcast(id, 0).wait();
    std::memcpy(&unique, id.data_ptr(), sizeof unique);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    const auto result = ncclCommInitRankConfig(&comm_, size(), unique, rank(), &config);
    settle(result, "connecting the GPUs");
  }

  /// What NCCL says of its own threads, which work behind the calls.
  ncclResult_t state() const {
    ncclResult_t result = ncclSuccess;
    const auto asked = ncclCommGetAsyncError(comm_, &result);
    return asked == ncclSuccess ? result : asked;
  }

  void check_health() {
    if (failed_) std::rethrow_exception(failed_);
    if (const auto result = state(); result != ncclSuccess && result != ncclInProgress) fail(result, "an earlier call");
  }

  /// Polls until ready(), or throws: NCCL failed, or the limit is over.
  void await(const std::function<bool()>& ready, const char* what) {
    const auto start = Clock::now();
    while (!ready()) {
      check_health();
      const auto waited = Clock::now() - start;
      if (waited > options_.wait_limit)
        fail(std::make_exception_ptr(PeerSilent(c10::str("waited ", static_cast<int64_t>(options_.wait_limit.count()), " s in ",
                                                         what, " for another rank's GPU"))));
      if (waited < kGpuYield) std::this_thread::yield();
      else std::this_thread::sleep_for(kGpuNap);
    }
  }

  /// The communicator does not block: a call may still be on its way to the stream when it returns. What follows it there must
  /// not be launched before.
  void settle(ncclResult_t result, const char* what) {
    if (result == ncclInProgress) {
      await([&] { return (result = state()) != ncclInProgress; }, what);
    }
    if (result != ncclSuccess) fail(result, what);
  }

  [[noreturn]] void fail(ncclResult_t result, const char* what) {
    const auto text = c10::str("NCCL failed in ", what, " (rank ", rank(), "): ", ncclGetErrorString(result), "; ",
                               ncclGetLastError(comm_), "; NCCL_DEBUG=WARN shows more");
    fail(result == ncclRemoteError ? std::make_exception_ptr(PeerDied(text)) : std::make_exception_ptr(CommError(text)));
  }

  [[noreturn]] void fail(std::exception_ptr failure) {
    failed_ = failure;
    abort();
    std::rethrow_exception(failed_);
  }

  /// Kernels that wait for a peer end, so that the host can leave the device.
  void abort() {
    for (auto& part : parts_) part->abort();
    if (comm_) ncclCommAbort(comm_);
    comm_ = nullptr;
  }

  // ---- one call ----------------------------------------------------------------------------------

  /// Runs `enqueue` with this communicator's stream as the current one, between the caller's work so far and what the caller
  /// does after wait().
  template <class Enqueue>
  Work issue(int64_t numel, const Enqueue& enqueue) {
    check_health();
    if (numel == 0) return {};
    const c10::cuda::CUDAGuard guard(device_);
    at::cuda::CUDAEvent ready;
    ready.record(c10::cuda::getCurrentCUDAStream(device_.index()));
    ready.block(queue_);
    {
      const c10::cuda::CUDAStreamGuard on_stream(queue_);
      enqueue();
    }
    const auto done = std::make_shared<at::cuda::CUDAEvent>();
    done->record(queue_);
    return Work([this, done] {
      check_health();
      done->block(c10::cuda::getCurrentCUDAStream(device_.index()));
    });
  }

  void all_reduce_by_nccl(const at::Tensor& buffer) {
    settle(ncclAllReduce(buffer.data_ptr(), buffer.data_ptr(), static_cast<size_t>(buffer.numel()),
                         nccl_type(buffer.scalar_type()), ncclSum, comm_, stream()),
           "all_reduce");
  }

  void reduce_scatter_by_nccl(const at::Tensor& shard, const at::Tensor& full) {
    settle(ncclReduceScatter(full.data_ptr(), shard.data_ptr(), static_cast<size_t>(shard.numel()),
                             nccl_type(full.scalar_type()), ncclSum, comm_, stream()),
           "reduce_scatter");
  }

  /// out = this rank's part of full, reduced over the ranks. The scratch memory belongs to the stream, so the allocator gives
  /// it to nobody else before the kernel has read it.
  void reduce(const at::Tensor& full, const std::vector<Part>& parts, char* out, ReduceOp op) {
    const Part own = mine(parts);
    const auto scratch = at::empty({size(), own.count}, full.options());
    group("the exchange of shards", [&](int peer) {
      send(full, parts[static_cast<size_t>(peer)], peer);
      receive(at_element(scratch, peer * own.count), own.count, full.element_size(), peer);
    });
    switch (full.scalar_type()) {
      case at::kFloat:
        return fold<float>(full, own, scratch, out, op);
      case at::kDouble:
        return fold<double>(full, own, scratch, out, op);
      case at::kLong:
        return fold<int64_t>(full, own, scratch, out, op);
      default:
        return fold<int32_t>(full, own, scratch, out, op);
    }
  }

  template <class T>
  void fold(const at::Tensor& full, const Part& own, const at::Tensor& scratch, char* out, ReduceOp op) {
    const RankValues<T> values{full.data_ptr<T>() + own.first, scratch.data_ptr<T>(), own.count, rank(), size()};
    tree_reduce_cuda(values, reinterpret_cast<T*>(out), own.count, op == ReduceOp::kMax, stream());
    C10_CUDA_CHECK(cudaGetLastError());
  }

  /// Every rank's part to all ranks.
  void spread(const at::Tensor& full, const std::vector<Part>& parts) {
    group("the exchange of sums", [&](int peer) {
      const Part theirs = parts[static_cast<size_t>(peer)];
      send(full, mine(parts), peer);
      receive(at_element(full, theirs.first), theirs.count, full.element_size(), peer);
    });
  }

  /// One message to and one from every other rank, together.
  template <class Exchange>
  void group(const char* what, const Exchange& exchange) {
    if (size() == 1) return;
    ncclGroupStart();
    for (int peer = 0; peer < size(); ++peer)
      if (peer != rank()) exchange(peer);
    settle(ncclGroupEnd(), what);  // also says what went wrong inside the group
  }

  /// Empty parts are left out by both sides.
  void send(const at::Tensor& full, const Part& part, int peer) {
    if (part.count > 0)
      ncclSend(at_element(full, part.first), static_cast<size_t>(part.count * full.element_size()), ncclInt8, peer, comm_,
               stream());
  }
  void receive(char* to, int64_t count, int64_t item, int peer) {
    if (count > 0) ncclRecv(to, static_cast<size_t>(count * item), ncclInt8, peer, comm_, stream());
  }

  std::unique_ptr<Communicator> owned_;
  Communicator* host_;
  at::Device device_;
  NcclOptions options_;
  int exceptions_;
  c10::cuda::CUDAStream queue_;
  ncclComm_t comm_ = nullptr;
  std::exception_ptr failed_;
  std::vector<std::unique_ptr<NcclCommunicator>> parts_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> host, at::Device device,
                                                     const NcclOptions& options) {
  TORCH_CHECK(device.is_cuda() && device.has_index(), "a rank's GPU, not ", device);
  Communicator& at = *host;
  return std::make_unique<NcclCommunicator>(at, std::move(host), device, options);
}

}  // namespace fmtrain
