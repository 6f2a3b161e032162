#include "runtime/train_state.h"

#include <cmath>

namespace fmtrain {

Json TrainState::to_json() const {
  return Json{{"step", step}, {"samples", samples}, {"tokens", tokens}, {"skipped_in_row", skipped_in_row}, {"seconds", seconds}, {"best", best},
              {"best_step", best_step}, {"evaluations_without_gain", evaluations_without_gain}, {"stopped_early", stopped_early}};
}

TrainState TrainState::from_json(const Json& json) {
  TrainState s;
  json.at("step").get_to(s.step);
  json.at("samples").get_to(s.samples);
  json.at("tokens").get_to(s.tokens);
  json.at("skipped_in_row").get_to(s.skipped_in_row);
  json.at("seconds").get_to(s.seconds);
  json.at("best").get_to(s.best);
  json.at("best_step").get_to(s.best_step);
  json.at("evaluations_without_gain").get_to(s.evaluations_without_gain);
  json.at("stopped_early").get_to(s.stopped_early);
  return s;
}

bool TrainState::record(double value, bool larger_is_better, const EvaluateSection& config) {
  // A value that is not a number is never the best: every later comparison with it would be false.
  const double gain = !std::isfinite(value) ? -1 : best_step < 0 ? HUGE_VAL : larger_is_better ? value - best : best - value;
  // A gain within min_delta keeps the model but does not reset the patience.
  evaluations_without_gain = gain > config.min_delta ? 0 : evaluations_without_gain + 1;
  const bool better = gain > 0;
  if (better) {
    best = value;
    best_step = step;
  }
  if (config.patience && evaluations_without_gain >= *config.patience) stopped_early = true;
  return better;
}

}  // namespace fmtrain
