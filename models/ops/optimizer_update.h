// One pass over flat fp32 memory per optimizer update. Elementwise, so any cut of the memory gives the same bits.
#pragma once
#include <cstdint>

namespace fmtrain {

/// AdamW (Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019), in the order torch.optim.AdamW computes:
/// g = scale * grad; p -= lr * weight_decay * p; m += (1 - beta1)(g - m); v = beta2 v + (1 - beta2) g g;
/// p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps).
struct AdamWUpdate {
  float scale;            ///< clipping coefficient
  float decay;            ///< 1 - lr * weight_decay
  float one_minus_beta1, beta2, one_minus_beta2;
  float step_size;        ///< lr / (1 - beta1^t)
  float inverse_root;     ///< 1 / sqrt(1 - beta2^t)
  float eps;
};
/// t: updates done including this one (>= 1).
AdamWUpdate adamw_update(double lr, double weight_decay, double beta1, double beta2, double eps, double scale, int64_t t);
void apply_adamw(const AdamWUpdate& update, float* param, const float* grad, float* exp_avg, float* exp_avg_sq, int64_t numel);

/// SGD with momentum as torch.optim.SGD: g = scale * grad + weight_decay * p; b = momentum * b + g; p -= lr * b
/// (b starts at 0, which gives torch's first step b = g).
struct SgdUpdate {
  float scale, weight_decay, momentum, lr;
};
void apply_sgd(const SgdUpdate& update, float* param, const float* grad, float* buffer, int64_t numel);

/// Sum of squares in fp64, in an order that depends on numel only.
double sum_of_squares(const float* data, int64_t numel);

}  // namespace fmtrain
