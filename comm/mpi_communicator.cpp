#include "comm/mpi_communicator.h"

#include <mpi.h>
#include <torch/torch.h>

#include <cstring>

#include "comm/tree_sum.h"

namespace fmtrain {
namespace {

MPI_Datatype type_of(const at::Tensor& t) {
  switch (t.scalar_type()) {
    case at::kFloat: return MPI_FLOAT;
    case at::kDouble: return MPI_DOUBLE;
    case at::kLong: return MPI_INT64_T;
    case at::kInt: return MPI_INT32_T;
    default: TORCH_CHECK(false, "no collective for ", t.scalar_type());
  }
}

/// A part of a tensor that starts at `offset`, cut so that counts fit MPI's int.
constexpr int64_t kMaxCount = int64_t{1} << 30;

/// One allocation: the same bytes of every rank, seen by all.
struct Window {
  MPI_Win handle;
  std::vector<char*> base;  ///< of each rank
  size_t bytes;
};

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(const MpiSession& session, bool shared) : rank_(session.rank()), size_(session.size()), shared_(shared && session.local_size() == session.size()) {
    MPI_Comm_dup(MPI_COMM_WORLD, &comm_);
  }
  ~MpiCommunicator() override {
    for (auto& w : windows_) MPI_Win_free(&w.handle);
    MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  at::Tensor allocate(int64_t numel, at::ScalarType dtype) override {
    if (!shared_) return at::zeros({numel}, dtype);
    const size_t bytes = (static_cast<size_t>(numel) * c10::elementSize(dtype) + 4095) / 4096 * 4096;
    void* mine = nullptr;
    Window w{MPI_WIN_NULL, {}, bytes};
    MPI_Win_allocate_shared(static_cast<MPI_Aint>(bytes + 4096), 1, MPI_INFO_NULL, comm_, &mine, &w.handle);
    for (int r = 0; r < size_; ++r) {
      MPI_Aint size = 0;
      int unit = 0;
      void* base = nullptr;
      MPI_Win_shared_query(w.handle, r, &size, &unit, &base);
      w.base.push_back(aligned(base));
    }
    std::memset(w.base[static_cast<size_t>(rank_)], 0, bytes);
    windows_.push_back(w);
    barrier();
    return at::from_blob(windows_.back().base[static_cast<size_t>(rank_)], {numel}, dtype);
  }

  Work all_reduce(at::Tensor buffer, ReduceOp op) override {
    return Work([this, buffer, op] {
      if (op == ReduceOp::kTreeSum) return tree_all_reduce(buffer);
      in_parts(buffer, [&](const at::Tensor& part) {
        MPI_Allreduce(MPI_IN_PLACE, part.data_ptr(), static_cast<int>(part.numel()), type_of(part), op == ReduceOp::kMax ? MPI_MAX : MPI_SUM, comm_);
      });
    });
  }

  Work reduce_scatter(at::Tensor shard, at::Tensor full, ReduceOp op) override {
    return Work([this, shard, full, op] {
      all_reduce(full, op).wait();
      shard.copy_(full.narrow(0, rank_ * shard.numel(), shard.numel()));
    });
  }

  Work all_gather(at::Tensor full, at::Tensor shard) override {
    return Work([this, full, shard] {
      const at::Tensor mine = shard.clone();  // shard may lie inside full
      TORCH_CHECK(mine.nbytes() < static_cast<size_t>(kMaxCount), "all_gather of more than 1 GiB a rank");
      MPI_Allgather(mine.data_ptr(), static_cast<int>(mine.nbytes()), MPI_BYTE, full.data_ptr(), static_cast<int>(mine.nbytes()), MPI_BYTE, comm_);
    });
  }

  Work broadcast(at::Tensor buffer, int root) override {
    return Work([this, buffer, root] {
      in_parts(buffer, [&](const at::Tensor& part) { MPI_Bcast(part.data_ptr(), static_cast<int>(part.nbytes()), MPI_BYTE, root, comm_); });
    });
  }

  void barrier() override { MPI_Barrier(comm_); }

 private:
  static char* aligned(void* p) { return reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(p) + 4095) / 4096 * 4096); }

  template <class Call>
  static void in_parts(const at::Tensor& buffer, const Call& call) {
    const int64_t step = kMaxCount / 8;
    for (int64_t at = 0; at < buffer.numel(); at += step) call(buffer.narrow(0, at, std::min(step, buffer.numel() - at)));
  }

  std::pair<int64_t, int64_t> range(int64_t numel, int rank) const { return {rank * numel / size_, (rank + int64_t{1}) * numel / size_}; }

  const Window* window_of(const at::Tensor& t) const {
    const auto* p = static_cast<const char*>(t.data_ptr());
    for (const auto& w : windows_)
      if (p >= w.base[static_cast<size_t>(rank_)] && p + t.nbytes() <= w.base[static_cast<size_t>(rank_)] + w.bytes) return &w;
    return nullptr;
  }

  void tree_all_reduce(const at::Tensor& buffer) {
    if (size_ == 1) return;
    const Window* window = window_of(buffer);
    if (window) through_memory(buffer, *window);
    else through_messages(buffer);
  }

  /// Between the barriers each rank writes only its own range, first in its own buffer, then all others' sums into its own.
  void through_memory(const at::Tensor& buffer, const Window& window) {
    const auto offset = static_cast<const char*>(buffer.data_ptr()) - window.base[static_cast<size_t>(rank_)];
    std::vector<at::Tensor> peers;
    for (int r = 0; r < size_; ++r) peers.push_back(at::from_blob(window.base[static_cast<size_t>(r)] + offset, {buffer.numel()}, buffer.scalar_type()));
    const auto cut = [&](const at::Tensor& t, int r) {
      const auto [first, last] = range(buffer.numel(), r);
      return t.narrow(0, first, last - first);
    };
    barrier();
    std::vector<at::Tensor> pieces;
    for (const auto& peer : peers) pieces.push_back(cut(peer, rank_));
    tree_sum(pieces, cut(buffer, rank_));
    barrier();
    for (int r = 0; r < size_; ++r)
      if (r != rank_) cut(buffer, r).copy_(cut(peers[static_cast<size_t>(r)], r));
    barrier();
  }

  void through_messages(const at::Tensor& buffer) {
    in_parts(buffer, [&](const at::Tensor& part) {
      std::vector<int> counts, starts, mine, at_mine;
      const auto [first, last] = range(part.numel(), rank_);
      for (int r = 0; r < size_; ++r) {
        const auto [a, b] = range(part.numel(), r);
        counts.push_back(static_cast<int>(b - a));
        starts.push_back(static_cast<int>(a));
        mine.push_back(static_cast<int>(last - first));
        at_mine.push_back(static_cast<int>(r * (last - first)));
      }
      const auto received = at::empty({size_ * (last - first)}, part.options());
      MPI_Alltoallv(part.data_ptr(), counts.data(), starts.data(), type_of(part), received.data_ptr(), mine.data(), at_mine.data(), type_of(part), comm_);
      auto sum = at::empty({last - first}, part.options());
      std::vector<at::Tensor> pieces;
      for (int r = 0; r < size_; ++r) pieces.push_back(received.narrow(0, r * (last - first), last - first));
      tree_sum(pieces, sum);
      MPI_Allgatherv(sum.data_ptr(), mine[0], type_of(part), part.data_ptr(), counts.data(), starts.data(), type_of(part), comm_);
    });
  }

  int rank_, size_;
  bool shared_;
  MPI_Comm comm_;
  std::vector<Window> windows_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(const MpiSession& session, bool shared_window) {
  return std::make_unique<MpiCommunicator>(session, shared_window);
}

}  // namespace fmtrain
