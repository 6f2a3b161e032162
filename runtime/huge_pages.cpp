#include "runtime/huge_pages.h"

#include <sys/mman.h>

#include <cstdint>

namespace fmtrain {

void prefer_huge_pages(void* memory, size_t bytes) {
  const auto first = (reinterpret_cast<uintptr_t>(memory) + kHugePage - 1) / kHugePage * kHugePage;
  const auto last = (reinterpret_cast<uintptr_t>(memory) + bytes) / kHugePage * kHugePage;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

}  // namespace fmtrain
