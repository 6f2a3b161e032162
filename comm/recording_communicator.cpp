#include "comm/recording_communicator.h"

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <optional>
#include <type_traits>

namespace fmtrain {
namespace {

using Op = Collective::Op;
using State = Collective::State;

class Recording final : public RecordingCommunicator, private WaitObserver {
 public:
  Recording(Communicator& inner, Journal& journal) : inner_(inner), journal_(journal) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  int sharers() const override { return inner_.sharers(); }
  std::vector<const void*> of_all_ranks(const at::Tensor& mine) const override { return inner_.of_all_ranks(mine); }
  uint64_t meetings() const override { return inner_.meetings(); }
  double waited() const override { return inner_.waited(); }
  std::string awaited() const override { return inner_.awaited(); }
  at::Tensor allocate(int64_t numel, at::ScalarType dtype) override {
    return blocking(Op::kAllocate, numel * bytes_of(dtype), [&] { return inner_.allocate(numel, dtype); });
  }
  at::Tensor allocate_shared(int64_t numel, at::ScalarType dtype) override {
    return blocking(Op::kAllocate, numel * bytes_of(dtype), [&] { return inner_.allocate_shared(numel, dtype); });
  }
  Work all_reduce(at::Tensor buffer, ReduceOp op) override {
    return watched(Op::kAllReduce, buffer, [&] { return inner_.all_reduce(buffer, op); });
  }
  Work reduce_scatter(at::Tensor shard, at::Tensor full, ReduceOp op) override {
    return watched(Op::kReduceScatter, full, [&] { return inner_.reduce_scatter(shard, full, op); });
  }
  Work all_gather(at::Tensor full, at::Tensor shard) override {
    return watched(Op::kAllGather, full, [&] { return inner_.all_gather(full, shard); });
  }
  Work broadcast(at::Tensor buffer, int root) override {
    return watched(Op::kBroadcast, buffer, [&] { return inner_.broadcast(buffer, root); });
  }
  void barrier() override {
    blocking(Op::kBarrier, 0, [&] { return inner_.barrier(), 0; });
  }

  void refresh() override {
    for (const auto& one : journal_.last())
      if (one.state == State::kRunning && on_gpu_[slot(one.seq)] && events_[slot(one.seq)]->query()) journal_.set(one.seq, State::kDone);
  }

 private:
  static size_t slot(uint64_t seq) { return seq % Journal::kKept; }
  static int64_t bytes_of(at::ScalarType dtype) { return static_cast<int64_t>(c10::elementSize(dtype)); }

  template <class Call>
  std::invoke_result_t<const Call&> blocking(Op op, int64_t bytes, const Call& call) {
    const uint64_t seq = journal_.issue(op, bytes);
    journal_.set(seq, State::kRunning);
    auto result = call();
    journal_.set(seq, State::kDone);
    return result;
  }

  template <class Call>
  Work watched(Op op, const at::Tensor& buffer, const Call& call) {
    const uint64_t seq = journal_.issue(op, buffer.defined() ? static_cast<int64_t>(buffer.nbytes()) : 0);
    on_gpu_[slot(seq)] = buffer.defined() && buffer.is_cuda();
    Work work = call();
    work.observe(*this, seq);
    return work;
  }

  void wait_begins(uint64_t seq) override {
    if (!on_gpu_[slot(seq)]) journal_.set(seq, State::kRunning);
  }

  /// On a GPU only the caller's stream waits: it runs from now on, and an event behind the wait says when it is over.
  void wait_ended(uint64_t seq) override {
    if (!on_gpu_[slot(seq)]) return journal_.set(seq, State::kDone);
    auto& event = events_[slot(seq)];
    if (!event) event.emplace(c10::DeviceType::CUDA);
    const c10::impl::VirtualGuardImpl cuda(c10::DeviceType::CUDA);
    event->record(cuda.getStream(cuda.getDevice()));
    journal_.set(seq, State::kRunning);  // last: refresh() then finds the event of this call in the slot
  }

  Communicator& inner_;
  Journal& journal_;
  std::array<std::atomic<bool>, Journal::kKept> on_gpu_{};
  std::array<std::optional<c10::Event>, Journal::kKept> events_;  ///< made at the first use of a slot, then kept
};

}  // namespace

std::unique_ptr<RecordingCommunicator> make_recording_communicator(Communicator& inner, Journal& journal) {
  return std::make_unique<Recording>(inner, journal);
}

}  // namespace fmtrain
