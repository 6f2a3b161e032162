#include "runtime/config/keys.h"
#include "runtime/hash.h"

namespace fmtrain {

std::vector<std::string> computation_lines(const Config& config) {
  std::vector<std::string> lines;
  for (const auto& key : config_keys())
    if (key.fixes_computation) lines.push_back(key.path + "=" + key.get(config));
  return lines;
}

std::string computation_hash(const Config& config) {
  std::string all;
  for (const auto& line : computation_lines(config)) all += line + "\n";
  return sha256_hex(all.data(), all.size());
}

}  // namespace fmtrain
