#include "runtime/engine/agreement.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numeric>

namespace fmtrain {

void agree(Communicator& comm, const StepFacts& facts, StepResult& result) {
  const auto of_device = [&](at::ArrayRef<double> values) { return at::tensor(values, at::kDouble).to(facts.squares.device()); };
  at::Tensor shared = at::cat({of_device(facts.losses), facts.squares, of_device({facts.stop ? 1.0 : 0.0})});
  comm.all_reduce(shared, ReduceOp::kSum).wait();  // every number is one rank's and 0 elsewhere, so the order does not matter
  shared = shared.cpu();
  const double* values = shared.data_ptr<double>();
  const double* squares = values + facts.losses.size();
  const double* end = squares + facts.squares.numel();
  result.loss = std::accumulate(values, squares, 0.0) / facts.divisor;
  result.grad_norm = std::sqrt(std::accumulate(squares, end, 0.0));
  result.applied = std::isfinite(result.loss) && std::isfinite(result.grad_norm);
  for (const double* leaf = values; leaf < squares; ++leaf)
    if (!std::isfinite(*leaf)) result.bad_leaves.push_back(leaf - values);
  result.stop = *end > 0;
}

double clip_scale(double limit, double norm) { return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0; }

}  // namespace fmtrain
