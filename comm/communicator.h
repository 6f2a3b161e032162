// Who am I, who else is there, and how tensors move between ranks. All calls are collective: every rank makes the same
// calls in the same order with the same sizes. Buffers are contiguous, of one dtype and on the communicator's device; a GPU's
// communicator takes tensors on the CPU as well.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace fmtrain {

enum class Group : uint32_t;  // comm/group.h

/// kTreeSum: element i is ((x0+x1)+(x2+x3))+... over ranks, a fixed order that for a power of two ranks extends the tree
/// of the ranks' own partial sums: the left part of R ranks is the largest power of two below R. kSum: the backend's fastest
/// order. kMax: largest value; a NaN stays.
enum class ReduceOp { kTreeSum, kSum, kMax };

/// Is told when somebody waits for a collective.
class WaitObserver {
 public:
  virtual void wait_begins(uint64_t seq) = 0;
  virtual void wait_ended(uint64_t seq) = 0;  ///< not called when it fails
 protected:
  ~WaitObserver() = default;
};

/// A collective in flight. Move-only; wait() returns when the result may be used by the caller's stream (CPU: when it is
/// there). A Work that is destroyed unwaited is waited for; what fails there is thrown again by the next call. The buffers must
/// outlive it and must not be touched before wait(). Works may be waited for in any order.
class [[nodiscard]] Work {
 public:
  Work() = default;
  explicit Work(std::function<void()> finish) : finish_(std::move(finish)) {}
  Work(Work&& other) noexcept
      : finish_(std::exchange(other.finish_, nullptr)), observer_(std::exchange(other.observer_, nullptr)), seq_(other.seq_) {}
  Work& operator=(Work&& other);
  ~Work();
  void wait();
  /// The observer, who outlives this, knows it as call number `seq`.
  void observe(WaitObserver& observer, uint64_t seq) { observer_ = &observer, seq_ = seq; }
 private:
  std::function<void()> finish_;
  WaitObserver* observer_ = nullptr;
  uint64_t seq_ = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Zero-filled memory, 64-byte aligned, that collectives move without a copy (for MPI: this rank's part of a window shared
  /// within the node). Collective; same numel on every rank. Valid while the communicator lives.
  virtual at::Tensor allocate(int64_t numel, at::ScalarType dtype) = 0;
  /// As allocate, but ranks that can share memory (for MPI: those of a node) get the same bytes, which exist once. Not for reductions.
  /// Before all_gather each rank writes no more than its own piece; without a collective a barrier stands between writing and reading.
  virtual at::Tensor allocate_shared(int64_t numel, at::ScalarType dtype) = 0;
  /// Where each rank has what `mine` is to this one, in rank order; mine lies in memory of allocate(). Empty: not all can be read from
  /// here. Not collective: one stands between their writing and the reading, and another before they write again.
  virtual std::vector<const void*> of_all_ranks(const at::Tensor& /*mine*/) const { return {}; }
  /// Ranks that allocate_shared gives the same bytes, this one included.
  virtual int sharers() const { return 1; }
  /// Of every rank, a number that those have in common that can share memory (for MPI: the ranks of a node).
  virtual std::vector<int> nodes() const = 0;
  /// Collective: the ranks that give the same color, in this order, as a world of their own, which lives as long as this one. A call
  /// to it is one of this rank's calls like any other: all ranks call their parts at the same point. `group` names it in messages.
  virtual Communicator& split(int color, Group group) = 0;
  /// How often this rank has come to a point, in this or an earlier collective, where it waits for the others of its node: of two
  /// ranks in the same collective the one with the lower number keeps the other waiting. As the next two, with the parts that were
  /// split off. For any thread. 0: not counted.
  virtual uint64_t meetings() const { return 0; }
  /// Seconds in which this rank did nothing but wait for others or for their messages, of all collectives so far; the rest of a
  /// collective is work. 0: not counted.
  virtual double waited() const { return 0; }
  /// In place: every rank ends with the reduction.
  virtual Work all_reduce(at::Tensor buffer, ReduceOp op) = 0;
  /// full has size() * shard.numel() elements; rank r receives the reduction of its r-th piece. full may be overwritten. On the CPU
  /// full may be bf16 beside a shard in fp32: every element is widened, which is exact, and then added.
  virtual Work reduce_scatter(at::Tensor shard, at::Tensor full, ReduceOp op) = 0;
  /// full = the shards in rank order; shard may be this rank's own piece of full.
  virtual Work all_gather(at::Tensor full, at::Tensor shard) = 0;
  virtual Work broadcast(at::Tensor buffer, int root) = 0;
  virtual void barrier() = 0;
  /// Whom ranks of this machine wait for on others: "rank 0 on a waits for rank 2 on b; ..."; empty: nobody, or not known. Not
  /// collective, and for any thread.
  virtual std::string awaited() const { return {}; }
};

/// A world of one; every collective is the identity (copies where shard and full differ). allocate() gives memory of `device`.
std::unique_ptr<Communicator> make_single_communicator(at::Device device = at::kCPU);

}  // namespace fmtrain
