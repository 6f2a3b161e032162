// A copy of live state that a save can read while training goes on.
#pragma once
#include "runtime/checkpoint/state_dict.h"

namespace fmtrain {

/// `live` with every piece copied into `buffer` on the host, one behind the other. The buffer is made at the first call and kept:
/// one fp32 number an element, page-locked where the state lies on a GPU.
StateDict snapshot(const StateDict& live, at::Tensor& buffer);

}  // namespace fmtrain
