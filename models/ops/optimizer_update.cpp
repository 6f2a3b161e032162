#include "models/ops/optimizer_update.h"

#include <cmath>

#include "models/ops/kernels.h"

namespace fmtrain {

AdamWUpdate adamw_update(double lr, double weight_decay, double beta1, double beta2, double eps, double scale, int64_t t) {
  const auto n = static_cast<double>(t);
  AdamWUpdate u;
  u.scale = static_cast<float>(scale);
  u.decay = static_cast<float>(1 - lr * weight_decay);
  u.one_minus_beta1 = static_cast<float>(1 - beta1);
  u.beta2 = static_cast<float>(beta2);
  u.one_minus_beta2 = static_cast<float>(1 - beta2);
  u.step_size = static_cast<float>(lr / (1 - std::pow(beta1, n)));
  u.inverse_root = static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, n)));
  u.eps = static_cast<float>(eps);
  return u;
}

void apply_adamw(const AdamWUpdate& update, float* param, const float* grad, float* exp_avg, float* exp_avg_sq, int64_t numel) {
  kernels().update.adamw(update, param, grad, exp_avg, exp_avg_sq, numel);
}

void apply_adamw(const AdamWUpdate& update, float* param, const float* grad, float* exp_avg, float* exp_avg_sq, Bf16* low, int64_t numel) {
  kernels().update.adamw_low(update, param, grad, exp_avg, exp_avg_sq, low, numel);
}

void apply_decay(const AdamWUpdate& update, float* param, int64_t numel) {
  if (update.decay != 1) kernels().update.decay(update.decay, param, numel);
}

void round_to_bf16(const float* param, Bf16* low, int64_t numel) { kernels().update.round_low(param, low, numel); }

void apply_sgd(const SgdUpdate& update, float* param, const float* grad, float* buffer, int64_t numel) {
  kernels().update.sgd(update, param, grad, buffer, numel);
}

LambUpdate lamb_update(double weight_decay, double beta1, double beta2, double eps, double scale, int64_t t) {
  return {adamw_update(1, 0, beta1, beta2, eps, scale, t), static_cast<float>(weight_decay)};
}

void lamb_direction(const LambUpdate& update, const float* param, float* grad, float* exp_avg, float* exp_avg_sq, int64_t numel) {
  kernels().update.lamb(update, param, grad, exp_avg, exp_avg_sq, numel);
}

void apply_direction(float step_size, float* param, const float* direction, int64_t numel) {
  kernels().update.direction(step_size, param, direction, numel);
}

void apply_pull(float strength, float* param, const float* start, int64_t numel) { kernels().update.pull(strength, param, start, numel); }

void SumOfSquares::add(const float* data, int64_t numel) { kernels().update.add_squares(data, numel, lanes_); }

double SumOfSquares::value() const {
  double sum = 0;
  for (const double lane : lanes_) sum += lane;
  return sum;
}

double sum_of_squares(const float* data, int64_t numel) {
  SumOfSquares sum;
  sum.add(data, numel);
  return sum.value();
}

}  // namespace fmtrain
