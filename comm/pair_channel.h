// Messages between two ranks, beside the collectives: what one pair of hosts is worth, for checks and not for training.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>

#include "comm/mpi_session.h"

namespace fmtrain {

class PairChannel {
 public:
  virtual ~PairChannel() = default;
  /// Returns when the memory may be used again; for a long message the receiver must have come.
  virtual void send(const void* data, int64_t bytes, int to) = 0;
  /// Of one rank, in the order they were sent; both sides agree on the length.
  virtual void receive(void* data, int64_t bytes, int from) = 0;
};

/// Collective, as is its end except while an exception unwinds. A message of less than 2^31 bytes that does not come to its end
/// within `limit` throws PeerSilent, which names the rank.
std::unique_ptr<PairChannel> make_mpi_pair_channel(const MpiSession& session, std::chrono::duration<double> limit);

}  // namespace fmtrain
