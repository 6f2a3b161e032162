// All ranks run the same program with the same config, or none does.
#pragma once
#include <string>

#include "comm/communicator.h"

namespace fmtrain {

/// Collective. Compares `config` (a text that has to be equal) and the bytes of this program over the ranks. Throws ConfigError,
/// on every rank, with a table of the ranks that differ from rank 0.
void check_agreement(Communicator& comm, const std::string& config);

}  // namespace fmtrain
