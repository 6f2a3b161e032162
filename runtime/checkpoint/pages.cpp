#include "runtime/checkpoint/pages.h"

#include <ATen/ATen.h>

#include "runtime/huge_pages.h"
#include "runtime/ledger.h"

namespace fmtrain {
namespace {

constexpr int64_t kPage = 4096, kHuge = kHugePage;  ///< bytes

}  // namespace

at::Tensor page_memory(int64_t bytes, bool pinned) {
  const Booking booking(Purpose::kSnapshot);
  const int64_t unit = bytes >= 16 * kHuge && !pinned ? kHuge : kPage;
  const auto all = at::empty({bytes + unit}, at::TensorOptions(at::kByte).pinned_memory(pinned));
  const auto start = static_cast<int64_t>(reinterpret_cast<uintptr_t>(all.data_ptr()));
  const auto memory = all.narrow(0, (start + unit - 1) / unit * unit - start, bytes);
  if (unit == kHuge) prefer_huge_pages(memory.data_ptr(), static_cast<size_t>(bytes));
  return memory;
}

}  // namespace fmtrain
