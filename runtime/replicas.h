// Silent corruption: replicas of the parameters must have the same bits on every rank.
#pragma once
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "models/task_model.h"

namespace fmtrain {

/// Collective. Compares a hash (XXH3-128) of all bytes of `parameters` over the ranks. Throws NumericError on every rank when
/// they differ: it names the ranks, with their `host`s, that are not of the largest group of equal ones; without a largest group
/// (two ranks) it names all. Time: one pass over the parameters.
void check_replicas(const std::vector<NamedParameter>& parameters, Communicator& comm, const std::string& host);

}  // namespace fmtrain
