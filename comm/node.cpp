#include "comm/node.h"

#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "comm/errors.h"

namespace fmtrain {
namespace {

constexpr size_t kAlign = 64;

size_t aligned(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

/// Bytes that the shared windows may still take; as much as one likes if nobody knows.
size_t room() {
  struct statvfs fs {};
  return statvfs("/dev/shm", &fs) == 0 ? size_t{fs.f_bavail} * fs.f_frsize : SIZE_MAX;
}

/// Zeros. Pages that nobody touches take neither time nor memory (half of a gradient is that of rare words); who touches one first
/// has it near its core. New shared memory is zero, but no standard says so of MPI's: taken back first, it is.
void clear(char* base, size_t bytes) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t before = std::min(bytes, (page - reinterpret_cast<uintptr_t>(base) % page) % page), whole = (bytes - before) / page * page;
  if (whole == 0 || ::madvise(base + before, whole, MADV_REMOVE) != 0) {
    std::memset(base, 0, bytes);  // not a file system of memory
    return;
  }
  std::memset(base, 0, before);
  std::memset(base + before + whole, 0, bytes - before - whole);
}

}  // namespace

/// Written by its owner only. Each counter has a cache line of its own.
struct alignas(kAlign) Node::Seat {
  std::atomic<uint64_t> issued;                 ///< last published call
  alignas(kAlign) std::atomic<uint64_t> phase;  ///< barriers reached
  std::atomic<int> awaits;                      ///< 1 + the rank of another node that it waits for, 0: none
  alignas(kAlign) Call calls[kRing];
  static_assert(std::atomic<uint64_t>::is_always_lock_free, "the board is shared between processes");
};

bool Call::same(const Call& other) const {
  return kind == other.kind && detail == other.detail && dtype == other.dtype && numel == other.numel;
}

std::string Call::text() const {
  static const char* const names[] = {"all_reduce", "reduce_scatter", "all_gather", "broadcast", "allocate", "barrier"};
  if (kind == kBarrier) return names[kind];
  const auto what = c10::str(names[kind], " of ", numel, " ", static_cast<at::ScalarType>(dtype));
  if (kind == kBroadcast) return c10::str(what, " from rank ", detail);
  return kind == kAllReduce || kind == kReduceScatter ? c10::str(what, ", op ", detail) : what;
}

Node::Node(MPI_Comm comm, std::vector<int> ranks, std::vector<Member> members, Group group, std::shared_ptr<Promises> promises,
           std::chrono::duration<double> limit)
    : comm_(comm), ranks_(std::move(ranks)), members_(std::move(members)), group_(group), promises_(std::move(promises)) {
  MPI_Comm_rank(comm_, &me_);
  std::vector<Peers::Peer> everyone(ranks_.size());
  const auto self = Peers::self(member(me_).world_rank);
  MPI_Allgather(&self, sizeof self, MPI_BYTE, everyone.data(), sizeof self, MPI_BYTE, comm_);
  peers_ = std::make_unique<Peers>(std::move(everyone), member(me_).host, limit);
  const auto& board = allocate(sizeof(Seat));
  new (board.base[static_cast<size_t>(me_)]) Seat{};
  for (char* base : board.base) seats_.push_back(std::launder(reinterpret_cast<Seat*>(base)));
  MPI_Barrier(comm_);
}

const SharedWindow& Node::allocate(size_t bytes, bool shared) {
  SharedWindow window;
  window.bytes = aligned(bytes);
  window.shared = shared;
  uint64_t free = room();
  MPI_Allreduce(MPI_IN_PLACE, &free, 1, MPI_UINT64_T, MPI_MIN, comm_);
  const uint64_t wanted = window.bytes * (shared ? 1 : ranks_.size());
  auto& [room_at_first, given] = *promises_;
  if (given == 0) room_at_first = free;
  const uint64_t taken = room_at_first - std::min(room_at_first, free), to_come = given - std::min(given, taken);
  if (wanted > free || to_come > free - wanted)  // a page that does not come when it is touched kills the process
    throw CommError(c10::str("/dev/shm has ", (free - std::min(free, to_come)) >> 20, " MiB free but the ", size(), " ranks of this node share ",
                             (wanted >> 20) + 1, " MiB more: enlarge it (container: --shm-size), or start fewer ranks a node"));
  given += wanted;
  MPI_Info info;
  MPI_Info_create(&info);
  MPI_Info_set(info, "alloc_shared_noncontig", "true");  // each rank's part begins on a page of its own
  void* mine = nullptr;
  const bool owner = !shared || me_ == 0;
  MPI_Win_allocate_shared(owner ? static_cast<MPI_Aint>(window.bytes + kAlign) : 0, 1, info, comm_, &mine, &window.handle);
  MPI_Info_free(&info);
  for (int r = 0; r < size(); ++r) {
    MPI_Aint length = 0;
    int unit = 0;
    void* base = nullptr;
    MPI_Win_shared_query(window.handle, shared ? 0 : r, &length, &unit, &base);
    // mappings differ between processes by whole pages, so all of them round up alike
    window.base.push_back(reinterpret_cast<char*>(aligned(reinterpret_cast<uintptr_t>(base))));
  }
  if (owner) clear(window.base[static_cast<size_t>(me_)], window.bytes);
  windows_.push_back(std::move(window));
  return windows_.back();
}

std::pair<int32_t, int64_t> Node::find(const void* data, size_t bytes) const {
  const auto* p = static_cast<const char*>(data);
  for (size_t w = 1; w < windows_.size(); ++w) {
    const char* base = windows_[w].base[static_cast<size_t>(me_)];
    if (p >= base && p + bytes <= base + windows_[w].bytes) return {static_cast<int32_t>(w), p - base};
  }
  return {-1, 0};
}

void Node::publish(uint64_t seq, const Call& call) {
  seat(me_).calls[seq % kRing] = call;
  seat(me_).issued.store(seq, std::memory_order_release);
}

const Call& Node::own(uint64_t seq) const { return seat(me_).calls[seq % kRing]; }

std::string Node::missing(uint64_t seq, const std::function<bool(const Seat&)>& arrived) const {
  std::string names;
  for (int r = 0; r < size(); ++r) {
    if (arrived(seat(r))) continue;
    const auto elsewhere = awaited_by(r);
    names += (names.empty() ? "" : ", ") + peers_->name(member(r).world_rank) + (elsewhere.empty() ? "" : " that waits for " + elsewhere);
  }
  return c10::str("collective ", seq, words_of(group_), ", ", own(seq).text(), "; missing: ", names);
}

std::vector<Call> Node::gather(uint64_t seq) const {
  const auto arrived = [seq](const Seat& s) { return s.issued.load(std::memory_order_acquire) >= seq; };
  std::vector<Call> calls;
  calls.reserve(seats_.size());
  for (int r = 0; r < size(); ++r) {
    if (!arrived(seat(r))) peers_->await([&] { return arrived(seat(r)); }, [&] { return missing(seq, arrived); });
    calls.push_back(seat(r).calls[seq % kRing]);
  }
  if (!std::all_of(calls.begin(), calls.end(), [&](const Call& c) { return c.same(calls[0]); })) throw CallsDiffer(difference(seq, calls));
  return calls;
}

/// The ranks that do not call what most do; all, if there is no such call.
std::string Node::difference(uint64_t seq, const std::vector<Call>& calls) const {
  const auto like = [&](const Call& a) { return std::count_if(calls.begin(), calls.end(), [&](const Call& b) { return a.same(b); }); };
  const auto most = std::max_element(calls.begin(), calls.end(), [&](const Call& a, const Call& b) { return like(a) < like(b); });
  const bool majority = 2 * like(*most) > static_cast<int64_t>(calls.size());
  std::string names;
  for (size_t r = 0; r < calls.size(); ++r)
    if (!majority || !calls[r].same(*most)) names += (names.empty() ? "" : ", ") + peers_->name(member(static_cast<int>(r)).world_rank) + " calls " + calls[r].text();
  return c10::str("collective ", seq, words_of(group_), " differs between the ranks", majority ? "; at fault: " : ": ", names,
                  majority ? c10::str("; the others call ", most->text()) : "");
}

void Node::sync(uint64_t seq) {
  seat(me_).phase.store(++phase_, std::memory_order_release);
  const auto arrived = [this](const Seat& s) { return s.phase.load(std::memory_order_acquire) >= phase_; };
  for (int r = 0; r < size(); ++r)
    if (!arrived(seat(r))) peers_->await([&] { return arrived(seat(r)); }, [&] { return missing(seq, arrived); });
}

void Node::awaits(int rank) { seat(me_).awaits.store(rank + 1, std::memory_order_relaxed); }

std::string Node::name(int rank) const {
  const auto& who = members_[static_cast<size_t>(rank)];
  return c10::str("rank ", who.world_rank, " on ", who.host);
}

std::string Node::awaited_by(int local) const {
  const int awaits = seat(local).awaits.load(std::memory_order_relaxed);
  return awaits > 0 ? name(awaits - 1) : "";
}

std::string Node::awaited() const {
  std::string text;
  for (int r = 0; r < size(); ++r)
    if (const auto other = awaited_by(r); !other.empty())
      text += c10::str(text.empty() ? "" : "; ", name(ranks_[static_cast<size_t>(r)]), " waits for ", other);
  return text;
}

uint64_t Node::syncs() const { return seat(me_).phase.load(std::memory_order_relaxed); }

void Node::close() {
  for (auto& w : windows_) MPI_Win_free(&w.handle);
  windows_.clear();
  MPI_Comm_free(&comm_);
}

}  // namespace fmtrain
