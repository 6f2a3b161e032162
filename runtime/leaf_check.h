// Silent corruption: a leaf that two ranks compute must have the same bits on both.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "runtime/engine/engine.h"

namespace fmtrain {

/// Which leaf is computed twice, and by whom; the same on all ranks.
struct LeafDuty {
  int64_t slot = 0;
  int owner = 0, checker = 0;  ///< ranks; the same one when no other is of its kind
};

class LeafCheck {
 public:
  /// Collective. `host` names this rank's machine in messages. `kind`: ranks with equal ones compute equal bits (processor, device,
  /// threads); a leaf is checked on the next rank of its owner's kind.
  LeafCheck(Communicator& comm, const std::string& host, const std::string& kind);
  /// For step `step`, of whose `slots` leaves the first `present` hold samples: the leaf changes from step to step, so that all
  /// ranks have their turn.
  LeafDuty duty(int64_t step, int64_t slots, int64_t present) const;
  /// Collective. `owned`: the owner's digest of the leaf in its step, `again`: the checker's; others' are ignored. Throws
  /// NumericError on every rank when they differ: it names the two ranks and their hosts. Time: one exchange of 100 bytes a rank.
  void compare(const LeafDuty& duty, const LeafDigest& owned, const LeafDigest& again) const;

 private:
  Communicator& comm_;
  std::vector<std::string> names_, kinds_;  ///< of every rank
};

}  // namespace fmtrain
