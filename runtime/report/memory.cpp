#include "runtime/report/memory.h"

#include <charconv>
#include <fstream>

namespace fmtrain {
namespace {

/// Value of a line "Key:   123 kB" in bytes, -1 without such a line.
int64_t bytes_of(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key + ":")) continue;
    const size_t digits = line.find_first_of("0123456789");
    int64_t kib = -1;
    if (digits != std::string::npos) std::from_chars(line.data() + digits, line.data() + line.size(), kib);
    return kib < 0 || kib > INT64_MAX / 1024 ? -1 : kib * 1024;
  }
  return -1;
}

}  // namespace

MemoryUse memory_use(const std::string& proc) {
  MemoryUse use{bytes_of(proc + "/smaps_rollup", "Rss"), bytes_of(proc + "/smaps_rollup", "Pss"),
                bytes_of(proc + "/status", "VmHWM")};
  if (use.rss < 0) use.rss = bytes_of(proc + "/status", "VmRSS");
  return use;
}

}  // namespace fmtrain
