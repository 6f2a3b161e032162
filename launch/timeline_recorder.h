// Any communicator, and when it was asked for which reduction: what a timeline is made of.
#pragma once
#include <memory>

#include "comm/communicator.h"
#include "runtime/scaling/recording.h"
#include "runtime/watch/status.h"

namespace fmtrain {

/// Passes everything on to `inner`; in phase "train" of `status` reductions are noted in `recording`, as is the largest fp32
/// memory that was allocated, which at stage 0 is the gradient's. All of them outlive it.
std::unique_ptr<Communicator> make_timeline_recorder(Communicator& inner, const RunStatus& status, Recording& recording);

}  // namespace fmtrain
