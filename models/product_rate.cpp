#include "models/product_rate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>

#include "models/ops/linear.h"
#include "models/ops/product.h"

namespace fmtrain {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

double product_rate(const ModelConfig& config, int64_t rows, at::Device device, double seconds) {
  const at::NoGradGuard no_grad;
  const int64_t d = config.hidden_size;
  const auto x = at::ones({rows, d}, at::device(device).dtype(product_type(config.precision))), w = at::ones({4 * d, d}, x.options());
  std::vector<double> times;
  const double end = now() + seconds;
  do {
    const double start = now();
    product(x, w)[0][0].item<float>();  // reading a value waits for the device
    times.push_back(now() - start);
  } while (now() < end || times.size() < 3);
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return 2e-9 * static_cast<double>(rows * d * 4 * d) / *middle;
}

}  // namespace fmtrain
