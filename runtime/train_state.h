// What a run must remember besides parameters and optimizer to go on exactly: counters, the best model, early stopping.
#pragma once
#include <cstdint>
#include <string>

#include "runtime/config/config.h"
#include "runtime/json.h"

namespace fmtrain {

struct TrainState {
  int64_t step = 0;            ///< updates taken, skipped ones included
  int64_t samples = 0, tokens = 0;
  int64_t skipped_in_row = 0;  ///< non-finite steps
  double seconds = 0;          ///< of the training loop, over all restarts
  double best = 0;             ///< value of evaluate.metric
  int64_t best_step = -1;      ///< -1: none yet
  int64_t evaluations_without_gain = 0;
  bool stopped_early = false;

  Json to_json() const;
  static TrainState from_json(const Json& json);

  /// Takes one validation result; true when it is the best so far (of equal ones the first; NaN and infinity never). Patience
  /// and min_delta as in `config`: stopped_early after `patience` results in a row that are no gain of more than min_delta.
  bool record(double value, bool larger_is_better, const EvaluateSection& config);
};

}  // namespace fmtrain
