#include "launch/timeline_recorder.h"

#include <ATen/ATen.h>

#include <string_view>

#include "launch/bench.h"

namespace fmtrain {
namespace {

class TimelineRecorder final : public Communicator, private WaitObserver {
 public:
  TimelineRecorder(Communicator& inner, const RunStatus& status, Recording& recording)
      : inner_(inner), status_(status), recording_(recording) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  int sharers() const override { return inner_.sharers(); }
  std::vector<int> nodes() const override { return inner_.nodes(); }
  Communicator& split(int color, Group group) override { return inner_.split(color, group); }  // at stage 0 nobody asks
  uint64_t meetings() const override { return inner_.meetings(); }
  double waited() const override { return inner_.waited(); }
  std::string awaited() const override { return inner_.awaited(); }
  at::Tensor allocate(int64_t numel, at::ScalarType dtype) override {
    if (dtype == at::kFloat) recording_.parameters = std::max(recording_.parameters, static_cast<double>(numel));
    return inner_.allocate(numel, dtype);
  }
  at::Tensor allocate_shared(int64_t numel, at::ScalarType dtype) override { return inner_.allocate_shared(numel, dtype); }
  Work all_reduce(at::Tensor buffer, ReduceOp op) override {
    return noted(buffer, [&] { return inner_.all_reduce(buffer, op); });
  }
  Work reduce_scatter(at::Tensor shard, at::Tensor full, ReduceOp op) override {
    return noted(full, [&] { return inner_.reduce_scatter(shard, full, op); });
  }
  Work all_gather(at::Tensor full, at::Tensor shard) override { return inner_.all_gather(full, shard); }
  Work broadcast(at::Tensor buffer, int root) override { return inner_.broadcast(buffer, root); }
  void barrier() override { inner_.barrier(); }

 private:
  template <class Start>
  Work noted(const at::Tensor& buffer, const Start& start) {
    if (std::string_view(status_.phase()) != "train") return start();
    const double now = bench_clock();
    recording_.calls.push_back({status_.step(), static_cast<double>(buffer.nbytes()), now, now});
    const uint64_t at = recording_.calls.size() - 1;
    Work work = start();
    work.observe(*this, at);
    return work;
  }
  void wait_begins(uint64_t at) override { recording_.calls[at].awaited = bench_clock(); }
  void wait_ended(uint64_t) override {}

  Communicator& inner_;
  const RunStatus& status_;
  Recording& recording_;
};

}  // namespace

std::unique_ptr<Communicator> make_timeline_recorder(Communicator& inner, const RunStatus& status, Recording& recording) {
  return std::make_unique<TimelineRecorder>(inner, status, recording);
}

}  // namespace fmtrain
