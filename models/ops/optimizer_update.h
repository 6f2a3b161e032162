// One pass over flat fp32 memory per optimizer update. Elementwise, so any cut of the memory gives the same bits.
#pragma once
#include <cstdint>

namespace fmtrain {

struct Bf16;  // bf16.h

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
/// Computed in fp64 once an update, then rounded: elements see the same constants on every rank and device.
AdamWUpdate adamw_update(double lr, double weight_decay, double beta1, double beta2, double eps, double scale, int64_t t);
/// Arrays of [numel] that do not overlap, here and below; what is not const is updated in place.
void apply_adamw(const AdamWUpdate& update, float* param, const float* grad, float* exp_avg, float* exp_avg_sq, int64_t numel);
/// The same, and low = the new param rounded to the nearest bf16 (ties to even, as ATen rounds), in the same pass.
void apply_adamw(const AdamWUpdate& update, float* param, const float* grad, float* exp_avg, float* exp_avg_sq, Bf16* low, int64_t numel);
/// What it comes to where gradient and moments are +0: p *= decay.
void apply_decay(const AdamWUpdate& update, float* param, int64_t numel);
/// low = param rounded to the nearest bf16.
void round_to_bf16(const float* param, Bf16* low, int64_t numel);

/// SGD with momentum as torch.optim.SGD: g = scale * grad + weight_decay * p; b = momentum * b + g; p -= lr * b
/// (b starts at 0, which gives torch's first step b = g).
struct SgdUpdate {
  float scale, weight_decay, momentum, lr;
};
void apply_sgd(const SgdUpdate& update, float* param, const float* grad, float* buffer, int64_t numel);

/// First half of LAMB (You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", ICLR 2020), up to
/// the norms of a whole tensor: g = scale * grad; m and v as in AdamW; then grad = m / (1 - beta1^t) / (sqrt(v) / sqrt(1 - beta2^t)
/// + eps) + weight_decay * p, the direction of the update.
struct LambUpdate {
  AdamWUpdate adam;       ///< with lr 1 and without decay
  float weight_decay;
};
LambUpdate lamb_update(double weight_decay, double beta1, double beta2, double eps, double scale, int64_t t);
void lamb_direction(const LambUpdate& update, const float* param, float* grad, float* exp_avg, float* exp_avg_sq, int64_t numel);
/// Second half: p -= step_size * direction, where step_size is lr times the tensor's trust ratio ||p|| / ||direction||.
void apply_direction(float step_size, float* param, const float* direction, int64_t numel);

/// p -= strength * (p - start): a pull towards `start`.
void apply_pull(float strength, float* param, const float* start, int64_t numel);

/// Sum of squares in fp64, in an order that depends on their number only, not on the parts in which they come.
class SumOfSquares {
 public:
  static constexpr int64_t kLanes = 16;  ///< independent sums, so that the loop vectorises without reordering
  /// numel is a multiple of kLanes in all parts but the last.
  void add(const float* data, int64_t numel);
  double value() const;

 private:
  double lanes_[kLanes] = {};
};
double sum_of_squares(const float* data, int64_t numel);

}  // namespace fmtrain
