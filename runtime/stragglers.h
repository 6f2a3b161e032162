// Ranks that are slow step after step: everyone else waits for them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace fmtrain {

/// Compares the speed of the ranks' own computation, tokens a second without any waiting, over reports of 20 steps. A rank whose
/// speed is below 0.75 of the fastest in 3 reports in a row is a straggler.
class Stragglers {
 public:
  static constexpr int64_t kSteps = 20;
  static constexpr double kSlow = 0.75;
  static constexpr int kReports = 3;

  Stragglers(Communicator& comm, const std::string& host);
  /// Collective in every kSteps-th call. This rank computed `tokens` in `seconds`. What is to be said, the same on all ranks: names,
  /// hosts and speeds of those that became stragglers just now; mostly "".
  std::string step(int64_t tokens, double seconds);

 private:
  Communicator& comm_;
  std::vector<std::string> hosts_;
  std::vector<int> slow_;  ///< reports in a row, a rank
  int64_t steps_ = 0, tokens_ = 0;
  double seconds_ = 0;
};

}  // namespace fmtrain
