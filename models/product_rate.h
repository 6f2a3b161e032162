// How fast this machine multiplies matrices: the ceiling beside which a training rate is put.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/model_config.h"

namespace fmtrain {

/// GFLOP/s of x [rows, d] times the transposed [4 d, d] weight of a model's feed-forward layer, in the model's precision, by
/// product() with the threads ATen has now: the median of about `seconds` of repetitions (2 * rows * d * 4 d operations each).
double product_rate(const ModelConfig& config, int64_t rows, at::Device device, double seconds = 0.2);

}  // namespace fmtrain
