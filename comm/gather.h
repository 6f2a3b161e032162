// A few bytes of every rank, for all ranks.
#pragma once
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace fmtrain {

/// Collective. Row r: `mine` of rank r, cut to `bytes` or filled with NUL to that length. By host memory, on GPU worlds too.
std::vector<std::string> gather_rows(Communicator& comm, const std::string& mine, size_t bytes);

}  // namespace fmtrain
