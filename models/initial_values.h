// First values of new parameters, the same for every rank, order and thread count.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace fmtrain {

/// Fills fp32 `value` with normal(0, deviation): element i is f(seed, name, i) by Philox and the Box-Muller transform.
void fill_normal(at::Tensor& value, uint64_t seed, const std::string& name, double deviation);

}  // namespace fmtrain
