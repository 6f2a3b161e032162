// `fmtrain check` under a launcher: the pre-flight on all ranks.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace fmtrain {

struct LaunchedCheck {
  std::string config;
  std::vector<std::string> overrides;
  int64_t memory = 0;   ///< as PreflightOptions
  double expected = 0;
  bool json = false;
};

/// Collective. Rank 0 prints; the exit code is the same on all ranks.
int check_launched(const LaunchedCheck& check);

}  // namespace fmtrain
