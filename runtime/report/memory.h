// What this process holds in memory, from Linux's /proc.
#pragma once
#include <cstdint>
#include <string>

namespace fmtrain {

/// Bytes; -1 where the kernel does not say.
struct MemoryUse {
  int64_t rss = -1;       ///< resident pages, shared ones included
  int64_t pss = -1;       ///< resident pages, shared ones divided by the number of their users: sums over the ranks of a node
  int64_t peak_rss = -1;  ///< largest rss so far
};

/// Reads `proc`/smaps_rollup (Linux 4.14; walks the page tables, milliseconds a GiB) and `proc`/status. Never throws.
MemoryUse memory_use(const std::string& proc = "/proc/self");

}  // namespace fmtrain
