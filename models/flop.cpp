#include "models/task_model.h"

namespace fmtrain {

double train_flop_per_token(const ModelConfig& config, double length) {
  const auto d = static_cast<double>(config.hidden_size), h = static_cast<double>(config.intermediate_size);
  const double layer_weights = 4 * (d * d + d) + 2 * d * h + h + d + 4 * d;  // attention, feed-forward, two norms
  const auto layers = static_cast<double>(config.layers);
  return 6 * layers * layer_weights + 12 * layers * d * length;
}

}  // namespace fmtrain
