#include "models/ops/optimizer_update.h"

#include <bit>
#include <cmath>

#include "models/ops/multiversion.h"

namespace fmtrain {
namespace {

/// The moments after a gradient, and m / (sqrt(v) / sqrt(1 - beta2^t) + eps).
[[gnu::always_inline]] inline float adam_quotient(const AdamWUpdate& u, float grad, float& exp_avg, float& exp_avg_sq) {
  const float g = u.scale * grad;
  exp_avg += u.one_minus_beta1 * (g - exp_avg);
  exp_avg_sq = u.beta2 * exp_avg_sq + u.one_minus_beta2 * g * g;
  return exp_avg / (std::sqrt(exp_avg_sq) * u.inverse_root + u.eps);
}

/// Adding 0x7fff, and 1 more where the last kept bit is odd, carries into the kept half exactly when the value lies above the tie, or
/// on it. A NaN becomes the quiet one, for the carry could make it an infinity.
[[gnu::always_inline]] inline uint16_t bf16_of(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return static_cast<uint16_t>(x != x ? 0x7fc0u : rounded);
}

}  // namespace

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

FMTRAIN_MULTIVERSION
void apply_adamw(const AdamWUpdate& update, float* __restrict param, const float* __restrict grad, float* __restrict exp_avg,
                 float* __restrict exp_avg_sq, int64_t numel) {
  const AdamWUpdate u = update;
  for (int64_t i = 0; i < numel; ++i) {
    param[i] = u.decay * param[i] - u.step_size * adam_quotient(u, grad[i], exp_avg[i], exp_avg_sq[i]);
  }
}

FMTRAIN_MULTIVERSION
void apply_adamw(const AdamWUpdate& update, float* __restrict param, const float* __restrict grad, float* __restrict exp_avg,
                 float* __restrict exp_avg_sq, uint16_t* __restrict low, int64_t numel) {
  const AdamWUpdate u = update;
  for (int64_t i = 0; i < numel; ++i) {
    const float p = u.decay * param[i] - u.step_size * adam_quotient(u, grad[i], exp_avg[i], exp_avg_sq[i]);
    param[i] = p;
    low[i] = bf16_of(p);
  }
}

FMTRAIN_MULTIVERSION
void apply_decay(const AdamWUpdate& update, float* __restrict param, int64_t numel) {
  const float decay = update.decay;
  if (decay == 1) return;
  for (int64_t i = 0; i < numel; ++i) param[i] *= decay;
}

FMTRAIN_MULTIVERSION
void round_to_bf16(const float* __restrict param, uint16_t* __restrict low, int64_t numel) {
  for (int64_t i = 0; i < numel; ++i) low[i] = bf16_of(param[i]);
}

FMTRAIN_MULTIVERSION
void apply_sgd(const SgdUpdate& update, float* __restrict param, const float* __restrict grad, float* __restrict buffer, int64_t numel) {
  const SgdUpdate u = update;
  for (int64_t i = 0; i < numel; ++i) {
    const float g = u.scale * grad[i] + u.weight_decay * param[i];
    buffer[i] = u.momentum * buffer[i] + g;
    param[i] -= u.lr * buffer[i];
  }
}

LambUpdate lamb_update(double weight_decay, double beta1, double beta2, double eps, double scale, int64_t t) {
  return {adamw_update(1, 0, beta1, beta2, eps, scale, t), static_cast<float>(weight_decay)};
}

FMTRAIN_MULTIVERSION
void lamb_direction(const LambUpdate& update, const float* __restrict param, float* __restrict grad, float* __restrict exp_avg,
                    float* __restrict exp_avg_sq, int64_t numel) {
  const AdamWUpdate u = update.adam;
  const float weight_decay = update.weight_decay;
  for (int64_t i = 0; i < numel; ++i) {
    grad[i] = u.step_size * adam_quotient(u, grad[i], exp_avg[i], exp_avg_sq[i]) + weight_decay * param[i];
  }
}

FMTRAIN_MULTIVERSION
void apply_direction(float step_size, float* __restrict param, const float* __restrict direction, int64_t numel) {
  for (int64_t i = 0; i < numel; ++i) param[i] -= step_size * direction[i];
}

FMTRAIN_MULTIVERSION
void apply_pull(float strength, float* __restrict param, const float* __restrict start, int64_t numel) {
  for (int64_t i = 0; i < numel; ++i) param[i] -= strength * (param[i] - start[i]);
}

namespace {

FMTRAIN_MULTIVERSION
void add_squares(const float* __restrict data, int64_t numel, double* __restrict to) {
  constexpr int64_t kLanes = SumOfSquares::kLanes;
  double lanes[kLanes];
  for (int64_t k = 0; k < kLanes; ++k) lanes[k] = to[k];
  int64_t i = 0;
  for (; i + kLanes <= numel; i += kLanes)
    for (int64_t k = 0; k < kLanes; ++k) {
      const double x = data[i + k];
      lanes[k] += x * x;
    }
  for (; i < numel; ++i) lanes[i % kLanes] += static_cast<double>(data[i]) * data[i];
  for (int64_t k = 0; k < kLanes; ++k) to[k] = lanes[k];
}

}  // namespace

void SumOfSquares::add(const float* data, int64_t numel) { add_squares(data, numel, lanes_); }

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
