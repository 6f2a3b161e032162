#include "comm/mpi_communicator.h"

#include <mpi.h>
#include <ATen/ATen.h>

#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>

#include "comm/arguments.h"
#include "comm/messages.h"
#include "comm/mpi_ranks.h"
#include "comm/node.h"
#include "comm/node_map.h"
#include "comm/tree_reduce.h"

namespace fmtrain {
namespace {

/// Bytes of a rank's scratch window: foreign buffers pass through it in pieces that stay in the second-level cache.
constexpr int64_t kScratch = 2 << 20;
/// Bytes of a buffer that go between nodes at a time, foreign or not, for ranks know of their own node's buffers only. Bounds
/// the memory for messages.
constexpr int64_t kBetweenNodes = 64 << 20;

/// What one rank asked for. A buffer is a matrix [rows, columns], a row a rank's shard where there are shards.
struct Request {
  Call call;
  at::Tensor full, shard;  ///< shard is undefined for all_reduce and broadcast
  ReduceOp op = ReduceOp::kSum;
  bool reduces() const { return call.kind == Call::kAllReduce || call.kind == Call::kReduceScatter; }
  bool spreads() const { return call.kind != Call::kReduceScatter; }
  /// Of what is added up.
  at::ScalarType sum_type() const { return widens(full, shard) ? shard.scalar_type() : full.scalar_type(); }
  int64_t sum_item() const { return static_cast<int64_t>(c10::elementSize(sum_type())); }
  int64_t rows() const { return shard.defined() && shard.numel() > 0 ? full.numel() / shard.numel() : 1; }
};

/// Columns [first, first + n) of the buffers of this node's ranks, where all of them can be reached.
struct Block {
  std::vector<char*> base;  ///< of each local rank, at column `first` of row 0
  int64_t stride, first, n; ///< elements
};

struct Range { int64_t first, count; };  ///< elements from a block's base

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(MpiRanks ranks, std::chrono::duration<double> limit)
      : ranks_(std::move(ranks)), limit_(limit), rank_(ranks_.rank), size_(ranks_.size()), exceptions_(std::uncaught_exceptions()),
        map_(ranks_.node_of_rank), mine_(map_.node_of(rank_)),
        node_(node_comm(), map_.ranks(mine_), ranks_.members, ranks_.group, ranks_.promises, limit), messages_(node_, ranks_.comm),
        scratch_(node_.allocate(kScratch)) {}

  ~MpiCommunicator() override {
    if (abandoned_ || failed() || std::uncaught_exceptions() > exceptions_) {
      for (auto& part : parts_) part->abandoned_ = true;
      return;
    }
    parts_.clear();
    messages_.close();
    node_.close();
    if (ranks_.group != Group::kWorld) MPI_Comm_free(&ranks_.comm);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  at::Tensor allocate(int64_t numel, at::ScalarType dtype) override { return window_of(numel, dtype, false); }
  at::Tensor allocate_shared(int64_t numel, at::ScalarType dtype) override {
    auto memory = window_of(numel, dtype, true);
    barrier();  // its owner has filled it with zeros
    return memory;
  }

  std::vector<const void*> of_all_ranks(const at::Tensor& mine) const override {
    const auto [number, offset] = node_.find(mine.data_ptr(), mine.nbytes());
    std::vector<const void*> all;
    if (number < 0 || map_.nodes() > 1) return all;
    for (const char* base : node_.window(number).base) all.push_back(base + offset);
    return all;
  }

  int sharers() const override { return node_.size(); }
  std::vector<int> nodes() const override { return ranks_.node_of_rank; }

  Communicator& split(int color, Group group) override {
    TORCH_CHECK(group != Group::kWorld, "a part is not the world");
    barrier();  // names who is missing
    auto made = std::make_unique<MpiCommunicator>(part_of(ranks_, color, group), limit_);
    const std::lock_guard lock(mutex_);
    return *parts_.emplace_back(std::move(made));
  }

  std::string awaited() const override {
    std::string text = node_.awaited();
    each_part([&](const MpiCommunicator& part) {
      if (const auto more = part.awaited(); !more.empty()) text += (text.empty() ? "" : "; ") + more;
    });
    return text;
  }
  uint64_t meetings() const override {
    uint64_t sum = node_.syncs();
    each_part([&](const MpiCommunicator& part) { sum += part.meetings(); });
    return sum;
  }
  double waited() const override {
    double sum = node_.peers().waited();
    each_part([&](const MpiCommunicator& part) { sum += part.waited(); });
    return sum;
  }

  Work all_reduce(at::Tensor buffer, ReduceOp op) override {
    check_reducible(buffer, at::kCPU);
    return issue({call_of(Call::kAllReduce, buffer, static_cast<int>(op)), buffer, {}, op});
  }
  Work reduce_scatter(at::Tensor shard, at::Tensor full, ReduceOp op) override {
    check_reduced_shard(full, shard, size_, at::kCPU);
    return issue({call_of(Call::kReduceScatter, full, static_cast<int>(op)), full, shard, op});
  }
  Work all_gather(at::Tensor full, at::Tensor shard) override {
    check_shard(full, shard, size_, at::kCPU);
    return issue({call_of(Call::kAllGather, full, 0), full, shard});
  }
  Work broadcast(at::Tensor buffer, int root) override {
    check_root(root, size_);
    check_buffer(buffer, at::kCPU);
    return issue({call_of(Call::kBroadcast, buffer, root), buffer, {}});
  }
  void barrier() override { meet({Call::kBarrier, 0, 0, -1, 0, 0}); }

 private:
  MPI_Comm node_comm() const {
    MPI_Comm comm;
    MPI_Comm_split(ranks_.comm, mine_, rank_, &comm);
    return comm;
  }

  template <class Use>
  void each_part(const Use& use) const {
    const std::lock_guard lock(mutex_);
    for (const auto& part : parts_) use(*part);
  }

  bool failed() const {
    return failed_ || std::any_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->failed(); });
  }

  at::Tensor window_of(int64_t numel, at::ScalarType dtype, bool shared) {
    check_numel(numel);
    meet({Call::kAllocate, shared, static_cast<int32_t>(dtype), -1, numel, 0});
    const auto& window = node_.allocate(static_cast<size_t>(numel) * c10::elementSize(dtype), shared);
    return at::from_blob(window.base[static_cast<size_t>(node_.rank())], {numel}, dtype);
  }

  // ---- order of the calls -------------------------------------------------------------------------

  Call call_of(Call::Kind kind, const at::Tensor& full, int detail) const {
    const auto [window, offset] = node_.find(full.data_ptr(), full.nbytes());
    TORCH_CHECK(window < 0 || !node_.window(window).shared || kind == Call::kAllGather || kind == Call::kBroadcast,
                "no reduction in memory that the ranks share");
    return {kind, detail, static_cast<int32_t>(full.scalar_type()), window, full.numel(), offset};
  }

  Work issue(Request request) {
    if (failed_) std::rethrow_exception(failed_);
    if (issued_ - done_ == kRing) finish(done_ + 1);
    node_.publish(++issued_, request.call);
    open_.push_back(std::move(request));
    return Work([this, seq = issued_] { finish(seq); });
  }

  /// Does all calls up to number `seq` that are still open.
  void finish(uint64_t seq) {
    if (failed_) std::rethrow_exception(failed_);
    try {
      for (; done_ < seq; ++done_) {
        execute(done_ + 1, open_.front());
        open_.pop_front();
      }
    } catch (...) {
      failed_ = std::current_exception();
      throw;
    }
  }

  /// Returns when every rank of the world has come here and all earlier calls are done.
  void meet(const Call& call) {
    issue({call, {}, {}}).wait();
  }

  // ---- one call -----------------------------------------------------------------------------------

  void execute(uint64_t seq, const Request& request) {
    const auto calls = node_.gather(seq);
    if (request.call.kind >= Call::kAllocate) {
      if (node_.rank() == 0 && map_.nodes() > 1) messages_.meet(map_.leaders());
      return node_.sync(seq);
    }
    const bool direct = std::all_of(calls.begin(), calls.end(), [](const Call& c) { return c.window >= 0; });
    const int64_t rows = request.rows(), columns = request.full.numel() / rows, row_bytes = rows * item(request);
    const int64_t piece = map_.nodes() > 1 ? kBetweenNodes : direct ? INT64_MAX : kScratch;
    const int64_t step = std::max<int64_t>(1, piece / row_bytes);
    for (int64_t first = 0; first < columns; first += step) {
      const int64_t n = std::min(step, columns - first);
      if (direct) run(request, windows_of(calls, item(request), columns, first, n));
      else through_scratch(seq, request, first, n);
    }
    if (direct || columns == 0) node_.sync(seq);
  }

  static int64_t item(const Request& request) { return request.full.element_size(); }

  Block windows_of(const std::vector<Call>& calls, int64_t bytes, int64_t columns, int64_t first, int64_t n) const {
    Block block{{}, columns, first, n};
    for (size_t l = 0; l < calls.size(); ++l)
      block.base.push_back(node_.window(calls[l].window).base[l] + calls[l].offset + first * bytes);
    return block;
  }

  void through_scratch(uint64_t seq, const Request& request, int64_t first, int64_t n) {
    const int64_t rows = request.rows();
    if (const auto bytes = static_cast<size_t>(rows * n * item(request)); bytes > scratch_.bytes) scratch_ = node_.allocate(bytes);
    const auto outside = request.full.view({rows, -1}).narrow(1, first, n);
    auto inside = at::from_blob(scratch_.base[static_cast<size_t>(node_.rank())], {rows, n}, request.full.options());
    const bool root = request.call.kind == Call::kBroadcast && request.call.detail == rank_;
    if (request.reduces() || root) inside.copy_(outside);
    node_.sync(seq);
    run(request, {scratch_.base, n, first, n});
    node_.sync(seq);
    if (request.spreads() && !root) outside.copy_(inside);
  }

  void run(const Request& request, const Block& block) {
    if (request.reduces()) reduce(request, block);
    if (request.spreads()) spread(request, block);
    messages_.wait_sent();
  }

  /// What `owner` is responsible for.
  Range range(const Request& request, const Block& block, int owner) const {
    if (request.call.kind == Call::kBroadcast) return {0, owner == request.call.detail ? block.n : 0};
    if (request.call.kind != Call::kAllReduce) return {owner * block.stride, block.n};
    const int64_t first = owner * block.n / size_;
    return {first, (owner + 1) * block.n / size_ - first};
  }

  static char* at_range(const Request& request, char* base, const Range& r) { return base + r.first * item(request); }
  char* own_base(const Block& block) const { return block.base[static_cast<size_t>(node_.rank())]; }
  char* base_of(const Block& block, int rank) const { return block.base[static_cast<size_t>(map_.local(rank))]; }
  /// This rank's shard, from the block's first column.
  static char* shard_at(const Request& request, const Block& block) {
    return static_cast<char*>(request.shard.data_ptr()) + block.first * request.shard.element_size();
  }

  // ---- reduction: partial sums of a node's subtrees go to the owner of a range, who adds them in the order of the tree ----

  void reduce(const Request& request, const Block& block) {
    for (int owner = 0; owner < size_; ++owner)
      if (map_.node_of(owner) != mine_ && map_.leader(mine_, owner) == rank_) send_partials(request, block, owner);
    const Range mine = range(request, block, rank_);
    if (mine.count == 0) return;
    const int64_t bytes = mine.count * request.sum_item();
    std::vector<Term> terms;
    for (const auto& tree : map_.trees())
      if (tree.node == mine_) add_local(request, block, tree, mine, terms);
      else terms.push_back({messages_.receive(bytes, map_.leader(tree.node, rank_)), tree.count});
    messages_.wait_received();
    std::vector<void*> outs;
    if (request.call.kind == Call::kReduceScatter) outs.push_back(shard_at(request, block));
    else for (char* base : block.base) outs.push_back(at_range(request, base, mine));
    tree_reduce(terms, outs, mine.count, request.sum_type(), request.op);
  }

  void add_local(const Request& request, const Block& block, const Subtree& tree, const Range& r, std::vector<Term>& terms) const {
    const bool bf16 = widens(request.full, request.shard);
    for (int rank = tree.first; rank < tree.first + tree.count; ++rank) terms.push_back({at_range(request, base_of(block, rank), r), 1, bf16});
  }

  void send_partials(const Request& request, const Block& block, int owner) {
    const Range r = range(request, block, owner);
    if (r.count == 0) return;
    for (const auto& tree : map_.trees()) {
      if (tree.node != mine_) continue;
      std::vector<Term> terms;
      add_local(request, block, tree, r, terms);
      void* partial = messages_.send_buffer(r.count * request.sum_item());
      tree_reduce(terms, {&partial, 1}, r.count, request.sum_type(), request.op);
      messages_.send(partial, r.count * request.sum_item(), owner);
    }
  }

  // ---- distribution: an owner's range goes to every other rank, between nodes once a node ----------

  void spread(const Request& request, const Block& block) {
    spread_own(request, block);
    for (int owner = 0; owner < size_; ++owner) {
      const Range r = range(request, block, owner);
      if (map_.node_of(owner) != mine_ && map_.leader(mine_, owner) == rank_ && r.count > 0)
        messages_.receive_into(at_range(request, own_base(block), r), r.count * item(request), owner);
    }
    messages_.wait_received();
    for (int owner = 0; owner < size_; ++owner) {
      const Range r = range(request, block, owner);
      if (map_.node_of(owner) != mine_ && map_.leader(mine_, owner) == rank_) copy_to_peers(request, block, at_range(request, own_base(block), r), r);
    }
  }

  void spread_own(const Request& request, const Block& block) {
    const Range r = range(request, block, rank_);
    const int root = request.call.kind == Call::kBroadcast ? request.call.detail : -1;
    if (root >= 0 && map_.node_of(root) == mine_ && own_base(block) != base_of(block, root))  // every rank fetches: faster than one that writes to all
      std::memcpy(own_base(block), base_of(block, root), static_cast<size_t>(block.n * item(request)));
    if (r.count == 0) return;
    char* source = request.call.kind == Call::kAllGather ? shard_at(request, block) : at_range(request, own_base(block), r);
    if (request.call.kind == Call::kAllGather) copy_to_peers(request, block, source, r);
    for (int node = 0; node < map_.nodes(); ++node)
      if (node != mine_) messages_.send(source, r.count * item(request), map_.leader(node, rank_));
  }

  static void copy_to_peers(const Request& request, const Block& block, const char* source, const Range& r) {
    const char* last = nullptr;
    for (char* base : block.base) {
      char* target = at_range(request, base, r);
      if (target != source && target != last && r.count > 0) std::memcpy(target, source, static_cast<size_t>(r.count * item(request)));
      last = target;
    }
  }

  MpiRanks ranks_;
  std::chrono::duration<double> limit_;
  int rank_, size_, exceptions_;
  NodeMap map_;
  int mine_;  ///< number of this rank's node
  Node node_;
  Messages messages_;
  SharedWindow scratch_;
  uint64_t issued_ = 0, done_ = 0;
  std::deque<Request> open_;    ///< calls done_ + 1 .. issued_
  std::exception_ptr failed_;
  bool abandoned_ = false;      ///< what this was split from has failed
  mutable std::mutex mutex_;    ///< of parts_, which other threads go through
  std::vector<std::unique_ptr<MpiCommunicator>> parts_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(const MpiSession& session, const MpiOptions& options) {
  TORCH_CHECK(options.node_of_rank.empty() || options.node_of_rank.size() == static_cast<size_t>(session.size()), "a node for every rank");
  return std::make_unique<MpiCommunicator>(world_ranks(session, options.node_of_rank), options.wait_limit);
}

}  // namespace fmtrain
