#include "comm/recording_communicator.h"

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <list>
#include <optional>
#include <type_traits>

#include "comm/group.h"

namespace fmtrain {
namespace {

using Op = Collective::Op;
using State = Collective::State;

/// The journal of a communicator and of its parts, and what tells it that a wait is over.
class Notes final : public WaitObserver {
 public:
  explicit Notes(Journal& journal) : journal_(journal) {}

  uint64_t issue(Op op, int64_t bytes, bool on_gpu, Group group) {
    const uint64_t seq = journal_.issue(op, bytes, group);
    on_gpu_[slot(seq)] = on_gpu;
    return seq;
  }
  void set(uint64_t seq, State state) { journal_.set(seq, state); }

  void refresh() {
    for (const auto& one : journal_.last())
      if (one.state == State::kRunning && on_gpu_[slot(one.seq)] && events_[slot(one.seq)]->query()) journal_.set(one.seq, State::kDone);
  }

 private:
  static size_t slot(uint64_t seq) { return seq % Journal::kKept; }

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

  Journal& journal_;
  std::array<std::atomic<bool>, Journal::kKept> on_gpu_{};
  std::array<std::optional<c10::Event>, Journal::kKept> events_;  ///< made at the first use of a slot, then kept
};

class Recording final : public RecordingCommunicator {
 public:
  Recording(Communicator& inner, std::shared_ptr<Notes> notes, Group group) : inner_(inner), notes_(std::move(notes)), group_(group) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  int sharers() const override { return inner_.sharers(); }
  std::vector<int> nodes() const override { return inner_.nodes(); }
  std::vector<const void*> of_all_ranks(const at::Tensor& mine) const override { return inner_.of_all_ranks(mine); }
  uint64_t meetings() const override { return inner_.meetings(); }
  double waited() const override { return inner_.waited(); }
  std::string awaited() const override { return inner_.awaited(); }
  Communicator& split(int color, Group group) override {
    Communicator& part = blocking(Op::kBarrier, 0, [&] { return std::ref(inner_.split(color, group)); });
    return parts_.emplace_back(part, notes_, group);
  }
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
  void refresh() override { notes_->refresh(); }

 private:
  static int64_t bytes_of(at::ScalarType dtype) { return static_cast<int64_t>(c10::elementSize(dtype)); }

  template <class Call>
  std::invoke_result_t<const Call&> blocking(Op op, int64_t bytes, const Call& call) {
    const uint64_t seq = notes_->issue(op, bytes, false, group_);
    notes_->set(seq, State::kRunning);
    auto result = call();
    notes_->set(seq, State::kDone);
    return result;
  }

  template <class Call>
  Work watched(Op op, const at::Tensor& buffer, const Call& call) {
    const bool defined = buffer.defined();
    const uint64_t seq = notes_->issue(op, defined ? static_cast<int64_t>(buffer.nbytes()) : 0, defined && buffer.is_cuda(), group_);
    Work work = call();
    work.observe(*notes_, seq);
    return work;
  }

  Communicator& inner_;
  std::shared_ptr<Notes> notes_;
  Group group_;
  std::list<Recording> parts_;
};

}  // namespace

std::unique_ptr<RecordingCommunicator> make_recording_communicator(Communicator& inner, Journal& journal) {
  return std::make_unique<Recording>(inner, std::make_shared<Notes>(journal), Group::kWorld);
}

}  // namespace fmtrain
