#include "runtime/huge_pages.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

namespace fmtrain {
namespace {

uintptr_t rounded_up(uintptr_t address) { return (address + kHugePage - 1) / kHugePage * kHugePage; }

}  // namespace

void prefer_huge_pages(void* memory, size_t bytes) {
  const auto first = rounded_up(reinterpret_cast<uintptr_t>(memory));
  const auto last = (reinterpret_cast<uintptr_t>(memory) + bytes) / kHugePage * kHugePage;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

void Unmap::operator()(char* memory) const { ::munmap(memory, bytes); }

HugeMemory huge_memory(size_t bytes) {
  const size_t whole = rounded_up(bytes), room = whole + kHugePage;
  void* const mapped = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  auto* const first = static_cast<char*>(mapped);
  const size_t before = rounded_up(reinterpret_cast<uintptr_t>(mapped)) - reinterpret_cast<uintptr_t>(mapped);
  if (before > 0) ::munmap(first, before);
  ::munmap(first + before + whole, kHugePage - before);
  prefer_huge_pages(first + before, whole);
  return HugeMemory(first + before, {whole});
}

}  // namespace fmtrain
