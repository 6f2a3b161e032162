#include "runtime/ledger.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <atomic>
#include <cstring>
#include <mutex>

#include "runtime/huge_pages.h"

namespace fmtrain {
namespace {

struct Account {
  std::atomic<int64_t> now{0}, peak{0};
  void add(int64_t bytes) {
    const int64_t sum = now.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    int64_t most = peak.load(std::memory_order_relaxed);
    while (sum > most && !peak.compare_exchange_weak(most, sum, std::memory_order_relaxed)) {
    }
  }
};

std::array<Account, kPurposeNames.size()> accounts;
thread_local Purpose current = Purpose::kOther;
std::mutex shortage_mutex;
Shortage last_shortage;

/// Stands before every block; as long as LibTorch's alignment, so that this is kept.
struct alignas(64) Header {
  int64_t bytes;
  Purpose purpose;
};

void release(void* data) {
  if (!data) return;
  auto* header = static_cast<Header*>(data) - 1;
  book(header->purpose, -header->bytes);
  c10::free_cpu(header);
}

/// LibTorch's own allocation with a header in front of it.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &release, cpu};
    auto* header = static_cast<Header*>(allocated(bytes));
    *header = {static_cast<int64_t>(bytes), current};
    book(current, header->bytes);
    return {header + 1, header + 1, &release, cpu};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }

 private:
  static void* allocated(size_t bytes) {
    try {
      void* memory = c10::alloc_cpu(bytes + sizeof(Header));
      if (bytes >= kOwnMapping) prefer_huge_pages(memory, bytes);  // weights and optimizer state, at every start
      return memory;
    } catch (...) {
      const std::lock_guard lock(shortage_mutex);
      last_shortage = {static_cast<int64_t>(bytes), ledger()};
      throw;
    }
  }
};

}  // namespace

void start_ledger() {
  static const bool started = [] { return c10::SetCPUAllocator(new CountingAllocator, 1), true; }();  // the last of its kind: never freed
  (void)started;
}

Booking::Booking(Purpose purpose) : outer_(current) { current = purpose; }
Booking::~Booking() { current = outer_; }

void book(Purpose purpose, int64_t bytes) { accounts[static_cast<size_t>(purpose)].add(bytes); }

at::Tensor booked(at::Tensor memory, Purpose purpose, int sharers) {
  if (memory.is_cpu() && memory.storage().data_ptr().get_deleter() != &release) book(purpose, static_cast<int64_t>(memory.nbytes()) / sharers);
  return memory;
}

Shortage shortage() {
  const std::lock_guard lock(shortage_mutex);
  return last_shortage;
}

Ledger ledger() {
  Ledger all;
  for (size_t i = 0; i < all.size(); ++i) all[i] = {accounts[i].now, accounts[i].peak};
  return all;
}

}  // namespace fmtrain
