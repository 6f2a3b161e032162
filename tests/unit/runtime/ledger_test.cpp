#include "runtime/ledger.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <thread>

namespace fmtrain {
namespace {

Balance of(Purpose purpose) { return ledger()[static_cast<size_t>(purpose)]; }

TEST(Ledger, BooksWhatIsAllocatedAndGivesItBack) {
  start_ledger();
  const auto before = of(Purpose::kOptimizer).now;
  {
    at::Tensor kept;
    {
      const Booking booking(Purpose::kOptimizer);
      kept = at::zeros({1000});
      EXPECT_EQ(of(Purpose::kOptimizer).now - before, 4000);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(kept.data_ptr()) % 64, 0u);
      const auto gone = at::zeros({500});
      EXPECT_EQ(of(Purpose::kOptimizer).now - before, 6000);
    }
    EXPECT_EQ(of(Purpose::kOptimizer).now - before, 4000);  // freed memory goes back where it came from
    std::thread([moved = std::move(kept)]() mutable { moved.reset(); }).join();
  }
  EXPECT_EQ(of(Purpose::kOptimizer).now, before);
  EXPECT_EQ(of(Purpose::kOptimizer).peak, before + 6000);
}

TEST(Ledger, TheInnermostBookingCounts) {
  start_ledger();
  const Booking outer(Purpose::kActivations);
  const auto activations = of(Purpose::kActivations).now, gradients = of(Purpose::kGradients).now;
  at::Tensor a, b;
  {
    const Booking inner(Purpose::kGradients);
    a = at::zeros({10});
  }
  b = at::zeros({20});
  EXPECT_EQ(of(Purpose::kGradients).now - gradients, 40);
  EXPECT_EQ(of(Purpose::kActivations).now - activations, 80);
  book(Purpose::kActivations, 7);
  EXPECT_EQ(of(Purpose::kActivations).now - activations, 87);
  book(Purpose::kActivations, -7);
}

/// Other threads book under their own purpose.
TEST(Ledger, ABookingIsOfItsThread) {
  start_ledger();
  const Booking booking(Purpose::kSnapshot);
  const auto before = of(Purpose::kSnapshot).now;
  std::thread([] { const auto other = at::zeros({10}); }).join();
  EXPECT_EQ(of(Purpose::kSnapshot).now, before);
}

/// Allocation of raw memory, as some kernels do it, and products with their packing buffers.
TEST(Ledger, LibTorchWorksOnIt) {
  start_ledger();
  auto* allocator = c10::GetAllocator(c10::DeviceType::CPU);
  void* raw = allocator->raw_allocate(100);
  allocator->raw_deallocate(raw);
  EXPECT_EQ(at::mm(at::ones({64, 32}), at::ones({32, 64})).sum().item<float>(), 64 * 32 * 64);
  EXPECT_EQ(at::empty({0}).numel(), 0);
}

}  // namespace
}  // namespace fmtrain
