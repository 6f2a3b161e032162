#include "comm/arguments.h"
#include "comm/communicator.h"

namespace fmtrain {

Work& Work::operator=(Work&& other) {
  if (this != &other) {
    wait();
    finish_ = std::exchange(other.finish_, nullptr);
    observer_ = std::exchange(other.observer_, nullptr);
    seq_ = other.seq_;
  }
  return *this;
}

Work::~Work() {
  try {
    wait();
  } catch (...) {  // a failed communicator throws again at its next call; here an exception may already be on its way
  }
}

void Work::wait() {
  auto* const observer = std::exchange(observer_, nullptr);
  const auto finish = std::exchange(finish_, nullptr);
  if (observer) observer->wait_begins(seq_);
  if (finish) finish();
  if (observer) observer->wait_ended(seq_);
}

namespace {

class SingleCommunicator final : public Communicator {
 public:
  explicit SingleCommunicator(at::Device device) : device_(device) {}
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::vector<int> nodes() const override { return {0}; }
  Communicator& split(int, Group) override { return *this; }
  at::Tensor allocate(int64_t numel, at::ScalarType dtype) override {
    check_numel(numel);
    return at::zeros({numel}, at::device(device_).dtype(dtype));
  }
  std::vector<const void*> of_all_ranks(const at::Tensor& mine) const override {
    return mine.is_cpu() ? std::vector<const void*>{mine.const_data_ptr()} : std::vector<const void*>{};
  }
  at::Tensor allocate_shared(int64_t numel, at::ScalarType dtype) override { return allocate(numel, dtype); }
  Work all_reduce(at::Tensor buffer, ReduceOp) override {
    check_reducible(buffer, type_of(buffer));
    return {};
  }
  Work reduce_scatter(at::Tensor shard, at::Tensor full, ReduceOp) override {
    check_reduced_shard(full, shard, 1, type_of(full));
    return copy(shard, full);
  }
  Work all_gather(at::Tensor full, at::Tensor shard) override {
    check_shard(full, shard, 1, type_of(full));
    return copy(full, shard);
  }
  Work broadcast(at::Tensor buffer, int root) override {
    check_root(root, 1);
    check_buffer(buffer, type_of(buffer));
    return {};
  }
  void barrier() override {}

 private:
  /// A world on a GPU takes tensors of the CPU too.
  at::DeviceType type_of(const at::Tensor& t) const { return t.defined() && t.is_cpu() ? at::kCPU : device_.type(); }

  static Work copy(const at::Tensor& to, const at::Tensor& from) {
    if (to.data_ptr() != from.data_ptr()) to.copy_(from);
    return {};
  }

  at::Device device_;
};

}  // namespace

std::unique_ptr<Communicator> make_single_communicator(at::Device device) { return std::make_unique<SingleCommunicator>(device); }

}  // namespace fmtrain
