#include "comm/thread_communicator.h"

#include <ATen/ATen.h>

#include <condition_variable>
#include <exception>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "comm/arguments.h"

namespace fmtrain {
namespace {

/// Where the ranks meet and show each other their buffers.
class Hub {
 public:
  explicit Hub(int size) : buffers_(static_cast<size_t>(size)), size_(size) {}

  /// Barrier. Throws when a rank has failed.
  void meet() {
    std::unique_lock lock(mutex_);
    const auto round = round_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++round_;
      all_here_.notify_all();
    }
    all_here_.wait(lock, [&] { return round_ != round || failure_; });
    TORCH_CHECK(round_ != round, "another rank has failed");
  }

  /// Every rank's buffer, by rank.
  std::vector<at::Tensor> exchange(int rank, const at::Tensor& buffer) {
    meet();
    buffers_[static_cast<size_t>(rank)] = buffer;
    meet();
    return buffers_;
  }

  void fail(std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = failure;
    all_here_.notify_all();
    for (auto& [key, part] : parts_) part->fail(failure);
  }

  /// Where those of one color meet in the `number`-th split.
  Hub& part(int number, int color, int size) {
    const std::lock_guard lock(mutex_);
    auto& hub = parts_[{number, color}];
    if (!hub) hub = std::make_unique<Hub>(size);
    if (failure_) hub->fail(failure_);
    return *hub;
  }
  std::exception_ptr failure() const { return failure_; }

 private:
  std::mutex mutex_;
  std::condition_variable all_here_;
  std::vector<at::Tensor> buffers_;
  std::exception_ptr failure_;
  int size_, arrived_ = 0;
  int64_t round_ = 0;
  std::map<std::pair<int, int>, std::unique_ptr<Hub>> parts_;
};

/// Of x[first, first + count), bf16 widened: the left part is the largest power of two below count.
at::Tensor tree(const std::vector<at::Tensor>& x, ReduceOp op, size_t first, size_t count) {
  if (count == 1) return x[first].scalar_type() == at::kBFloat16 ? x[first].to(at::kFloat) : x[first].clone();
  size_t left = 1;
  while (left * 2 < count) left *= 2;
  const auto a = tree(x, op, first, left), b = tree(x, op, first + left, count - left);
  return op == ReduceOp::kMax ? at::maximum(a, b) : a + b;
}

class ThreadCommunicator final : public Communicator {
 public:
  /// nodes: of every rank, as nodes().
  ThreadCommunicator(Hub& hub, int rank, std::vector<int> nodes)
      : hub_(hub), rank_(rank), size_(static_cast<int>(nodes.size())), nodes_(std::move(nodes)) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int sharers() const override { return static_cast<int>(std::count(nodes_.begin(), nodes_.end(), node())); }
  std::vector<int> nodes() const override { return nodes_; }
  Communicator& split(int color, Group) override {
    std::vector<int> nodes;
    int rank = 0;
    const auto colors = hub_.exchange(rank_, at::tensor({color}, at::kInt));
    for (int r = 0; r < size_; ++r) {
      if (colors[static_cast<size_t>(r)].item<int>() != color) continue;
      if (r == rank_) rank = static_cast<int>(nodes.size());
      nodes.push_back(nodes_[static_cast<size_t>(r)]);
    }
    Hub& hub = hub_.part(static_cast<int>(parts_.size()), color, static_cast<int>(nodes.size()));
    return parts_.emplace_back(hub, rank, std::move(nodes));
  }
  at::Tensor allocate(int64_t numel, at::ScalarType dtype) override {
    check_numel(numel);
    agree(numel, "allocate");
    allocated_.push_back(hub_.exchange(rank_, at::zeros({numel}, dtype)));
    return allocated_.back()[static_cast<size_t>(rank_)];
  }
  std::vector<const void*> of_all_ranks(const at::Tensor& mine) const override {
    if (sharers() < size_) return {};
    for (const auto& tensors : allocated_) {
      const auto& own = tensors[static_cast<size_t>(rank_)];
      const auto offset = static_cast<const char*>(mine.data_ptr()) - static_cast<const char*>(own.data_ptr());
      if (offset < 0 || static_cast<size_t>(offset) + mine.nbytes() > own.nbytes()) continue;
      std::vector<const void*> all;
      for (const auto& one : tensors) all.push_back(static_cast<const char*>(one.data_ptr()) + offset);
      return all;
    }
    return {};
  }
  at::Tensor allocate_shared(int64_t numel, at::ScalarType dtype) override {
    check_numel(numel);
    agree(numel, "allocate_shared");
    const auto owner = std::find(nodes_.begin(), nodes_.end(), node()) - nodes_.begin();
    return hub_.exchange(rank_, rank_ == owner ? at::zeros({numel}, dtype) : at::Tensor())[static_cast<size_t>(owner)];
  }
  Work all_reduce(at::Tensor buffer, ReduceOp op) override {
    check_reducible(buffer, at::kCPU);
    const auto sum = reduced(buffer, op);
    hub_.meet();  // all have read all
    buffer.copy_(sum);
    return {};
  }
  Work reduce_scatter(at::Tensor shard, at::Tensor full, ReduceOp op) override {
    check_reduced_shard(full, shard, size_, at::kCPU);
    const auto sum = reduced(full, op).narrow(0, rank_ * shard.numel(), shard.numel());
    hub_.meet();
    shard.copy_(sum.view_as(shard));
    return {};
  }
  Work all_gather(at::Tensor full, at::Tensor shard) override {
    check_shard(full, shard, size_, at::kCPU);
    agree(full.numel(), "all_gather");
    const auto shards = hub_.exchange(rank_, shard.clone());  // shard may lie inside full
    const auto fulls = hub_.exchange(rank_, full);
    const auto first = std::find_if(fulls.begin(), fulls.end(), [&](const auto& other) { return other.data_ptr() == full.data_ptr(); });
    if (first - fulls.begin() == rank_) full.copy_(at::cat(shards).view_as(full));  // shared memory is written once
    hub_.meet();
    return {};
  }
  Work broadcast(at::Tensor buffer, int root) override {
    check_root(root, size_);
    check_buffer(buffer, at::kCPU);
    agree(buffer.numel() * size_ + root, "broadcast");
    const auto buffers = hub_.exchange(rank_, rank_ == root ? buffer.clone() : buffer);
    if (rank_ != root) buffer.copy_(buffers[static_cast<size_t>(root)]);
    return {};
  }
  void barrier() override { agree(0, "barrier"); }

 private:
  int node() const { return nodes_[static_cast<size_t>(rank_)]; }

  /// Throws on every rank unless all make the same call.
  void agree(int64_t value, const std::string& call) {
    const auto name = static_cast<int64_t>(std::hash<std::string>()(call));
    for (const auto& other : hub_.exchange(rank_, at::tensor({value, name}, at::kLong)))
      TORCH_CHECK(other[0].item<int64_t>() == value && other[1].item<int64_t>() == name, "ranks make different calls");
  }

  at::Tensor reduced(const at::Tensor& buffer, ReduceOp op) {
    agree(buffer.numel() * 4 + static_cast<int>(op), "reduce");
    return tree(hub_.exchange(rank_, buffer.view(-1)), op, 0, static_cast<size_t>(size_));
  }

  Hub& hub_;
  int rank_, size_;
  std::vector<int> nodes_;
  std::vector<std::vector<at::Tensor>> allocated_;  ///< of all ranks
  std::list<ThreadCommunicator> parts_;
};

}  // namespace

void run_ranks(int size, const std::function<void(Communicator&)>& body, int per_node) {
  Hub hub(size);
  std::vector<int> nodes;
  for (int rank = 0; rank < size; ++rank) nodes.push_back(per_node > 0 ? rank / per_node : 0);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      try {
        ThreadCommunicator comm(hub, rank, nodes);
        body(comm);
      } catch (...) {
        hub.fail(std::current_exception());
      }
    });
  for (auto& thread : threads) thread.join();
  if (hub.failure()) std::rethrow_exception(hub.failure());
}

}  // namespace fmtrain
