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

struct MemoryLimit {
  int64_t bytes = 0;          ///< 0: unknown
  std::string source;         ///< "host", "cgroup"
};

/// What all processes of this machine, or of this process' memory control group (version 1 or 2) and those above it, may hold: the
/// smaller. What others hold at the moment does not count. `proc`: /proc; `groups`: where control groups are mounted. Never
/// throws.
MemoryLimit memory_limit(const std::string& proc = "/proc", const std::string& groups = "/sys/fs/cgroup");

}  // namespace fmtrain
