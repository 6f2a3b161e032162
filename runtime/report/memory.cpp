#include "runtime/report/memory.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
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

/// The number that a file begins with; INT64_MAX without one ("max", no such file).
int64_t number_in(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  int64_t value = INT64_MAX;
  if (!(file >> text) || std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) return INT64_MAX;
  return value > 0 ? value : INT64_MAX;
}

/// The smallest limit of a group below `root` and of those above it. A container may not see its own group, but sees the root.
int64_t limit_of_group(const std::string& root, const std::string& group, const char* file) {
  int64_t least = INT64_MAX;
  for (auto path = std::filesystem::path(group).lexically_normal(); ; path = path.parent_path()) {
    least = std::min(least, number_in(root + path.string() + "/" + file));
    if (path == path.parent_path()) return least;
  }
}

}  // namespace

MemoryLimit memory_limit(const std::string& proc, const std::string& groups) {
  const int64_t host = bytes_of(proc + "/meminfo", "MemTotal");
  int64_t group = INT64_MAX;
  std::ifstream file(proc + "/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // number:controllers:path
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos || line[second + 1] != '/') continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",", path = line.substr(second + 1);
    if (controllers == ",,") group = std::min(group, limit_of_group(groups, path, "memory.max"));
    if (controllers.find(",memory,") != std::string::npos) group = std::min(group, limit_of_group(groups + "/memory", path, "memory.limit_in_bytes"));
  }
  if (host > 0 && host <= group) return {host, "host"};  // without a limit version 1 shows a number beyond all memory
  return group == INT64_MAX ? MemoryLimit{} : MemoryLimit{group, "cgroup"};
}

MemoryUse memory_use(const std::string& proc) {
  MemoryUse use{bytes_of(proc + "/smaps_rollup", "Rss"), bytes_of(proc + "/smaps_rollup", "Pss"),
                bytes_of(proc + "/status", "VmHWM")};
  if (use.rss < 0) use.rss = bytes_of(proc + "/status", "VmRSS");
  return use;
}

}  // namespace fmtrain
