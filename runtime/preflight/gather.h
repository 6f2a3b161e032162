// What every rank has to say, for all ranks.
#pragma once
#include <vector>

#include "comm/communicator.h"
#include "runtime/json.h"

namespace fmtrain {

/// Collective. `mine` of each rank, in rank order.
std::vector<Json> gather_json(Communicator& comm, const Json& mine);

/// Collective. Rank 0's.
Json rank_zeros(Communicator& comm, const Json& mine);

}  // namespace fmtrain
