#include "comm/communicator.h"

namespace fmtrain {

Work& Work::operator=(Work&& other) noexcept {
  if (this != &other) {
    wait();
    finish_ = std::move(other.finish_);
    other.finish_ = nullptr;
  }
  return *this;
}

Work::~Work() { wait(); }

void Work::wait() {
  if (const auto finish = std::exchange(finish_, nullptr)) finish();
}

namespace {

class SingleCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  at::Tensor allocate(int64_t numel, at::ScalarType dtype) override { return at::zeros({numel}, dtype); }
  Work all_reduce(at::Tensor, ReduceOp) override { return {}; }
  Work reduce_scatter(at::Tensor shard, at::Tensor full, ReduceOp) override { return copy(shard, full); }
  Work all_gather(at::Tensor full, at::Tensor shard) override { return copy(full, shard); }
  Work broadcast(at::Tensor, int) override { return {}; }
  void barrier() override {}

 private:
  static Work copy(const at::Tensor& to, const at::Tensor& from) {
    if (to.data_ptr() != from.data_ptr()) to.copy_(from);
    return {};
  }
};

}  // namespace

std::unique_ptr<Communicator> make_single_communicator() { return std::make_unique<SingleCommunicator>(); }

}  // namespace fmtrain
