// What all ranks must agree on in a step before anything changes, in one exchange of numbers.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "comm/communicator.h"
#include "runtime/engine/engine.h"

namespace fmtrain {

struct StepFacts {
  std::vector<double> losses;   ///< [slots] sum of each leaf's losses; 0 where another rank has the leaf
  at::Tensor squares;           ///< fp64 [norm blocks] sums of squares of the reduced gradient; 0 for blocks of other ranks
  double divisor = 1;           ///< of the losses
  bool stop = false;            ///< this rank's wish
};

/// Collective. Fills loss, grad_norm, applied, bad_leaves and stop of `result`: sums in slot and block order, so the same bits on every rank
/// and for every number of ranks.
void agree(Communicator& comm, const StepFacts& facts, StepResult& result);

/// What the gradient is multiplied with so that its norm is at most `limit` (0: no limit), as torch.nn.utils.clip_grad_norm_.
double clip_scale(double limit, double norm);

}  // namespace fmtrain
