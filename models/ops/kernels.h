// The inner loops of the layers and of the optimizers on the CPU, compiled for several x86 levels (kernels_level.cpp) and chosen when the
// program starts, so that one binary serves every node. The choice is the same on all ranks of one processor type. Levels differ in bits:
// with AVX2 and above the compiler fuses products with sums (but for the optimizers), so processors of different levels in one run give it
// bits of its own.
// Activations are float or Bf16; sums, statistics and parameters are fp32. Plain memory only: what is done in parallel, and why, stands
// with the callers (row_passes.cpp, attention.cpp, dropout.cpp).
#pragma once
#include <cstdint>
#include <span>

#include "models/ops/bf16.h"
#include "models/ops/optimizer_update.h"

namespace fmtrain {

/// Philox counter and key of one row of features, or of all query rows of a head, as dropout.h lays them out.
struct MaskCounter {
  uint32_t block, position, sample, step;  ///< block: with layer and site, of the first eight features
  uint32_t key0, key1;
  uint32_t threshold;  ///< numbers below are dropped
  float scale;         ///< of what is kept
};

/// y = layer_norm(x * mask + residual); see row_passes.h.
template <class A>
struct NormRow {
  int64_t columns;
  const A *x, *residual;
  const float *mask;             ///< nullptr: nothing is dropped
  const float *weight, *bias;
  float eps;
  A *y, *normalised;             ///< normalised: or nullptr
  float* inverse;
};
template <class A>
struct NormRowBackward {
  int64_t columns;
  const A *grad_y, *grad_y_too, *normalised;  ///< grad_y_too: or nullptr
  float inverse;
  const float *mask, *weight;
  A *grad_residual, *grad_x;                  ///< the same where nothing is dropped
  float* sums;                                ///< [3, columns], added to: of grad_y * normalised, grad_y, grad_x
};

/// One sample and head of attention; see attention.h. Scratch: attention_scratch(s, dh) floats, 64-byte aligned.
template <class A>
struct HeadRows {
  int64_t s, dh;              ///< tokens, features
  const A *q, *k, *v;
  int64_t stride;             ///< elements from one row of q, k, v and their gradients to the next
  float scale;                ///< of scores
  MaskCounter mask;           ///< threshold 0: nothing is dropped
  float* kept;                ///< [s] pairs: largest score, inverse sum of exponentials; nullptr where no backward follows
  int64_t kept_stride;
  float* scratch;
};
/// Rows of a head, padded to whole vectors.
constexpr int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }
constexpr int64_t attention_scratch(int64_t s, int64_t dh) { return 6 * padded(s) * padded(dh) + 3 * padded(s) * padded(s); }

template <class A>
struct KernelsOf {
  /// scratch: [columns] floats, [2, columns] for the backward.
  void (*norm)(const NormRow<A>& row, float* scratch);
  void (*norm_backward)(const NormRowBackward<A>& row, float* scratch);
  void (*gelu)(const A* x, A* out, int64_t n);
  /// In place: x becomes gelu(x), grad becomes grad * gelu'(x), and is added to sums.
  void (*gelu_backward)(A* x, A* grad, int64_t n, float* sums);
  /// sums += x; sums = x; sums = x + y. Elementwise, each x widened exactly, so any cut of the memory gives the same bits.
  void (*add_to_sums)(const A* x, int64_t n, float* sums);
  void (*put_in_sums)(const A* x, int64_t n, float* sums);
  void (*put_sum)(const A* x, const A* y, int64_t n, float* sums);
  void (*add)(A* to, const A* from, int64_t n);
  void (*attention)(const HeadRows<A>& head, A* out, int64_t out_stride);
  void (*attention_backward)(const HeadRows<A>& head, const A* grad_out, int64_t out_stride, A* grad_q, A* grad_k, A* grad_v);
};

/// optimizer_update.h
struct UpdateKernels {
  void (*adamw)(const AdamWUpdate& update, float* param, const float* grad, float* exp_avg, float* exp_avg_sq, int64_t numel);
  void (*adamw_low)(const AdamWUpdate& update, float* param, const float* grad, float* exp_avg, float* exp_avg_sq, Bf16* low, int64_t numel);
  void (*decay)(float factor, float* param, int64_t numel);
  void (*round_low)(const float* param, Bf16* low, int64_t numel);
  void (*sgd)(const SgdUpdate& update, float* param, const float* grad, float* buffer, int64_t numel);
  void (*lamb)(const LambUpdate& update, const float* param, float* grad, float* exp_avg, float* exp_avg_sq, int64_t numel);
  void (*direction)(float step_size, float* param, const float* towards, int64_t numel);
  void (*pull)(float strength, float* param, const float* start, int64_t numel);
  /// to[i % kLanes] += values[i]^2
  void (*add_squares)(const float* values, int64_t numel, double* to);
};

struct Kernels {
  const char* level;
  KernelsOf<float> fp32;
  KernelsOf<Bf16> bf16;
  /// mask[i] = scale or 0 for i < features.
  void (*mask_row)(const MaskCounter& counter, int64_t features, float* mask);
  /// The rows position .. position + size - 1 of `size` features each, at mask[i * width]; those from column size on are 0 or scale as well.
  void (*mask_square)(const MaskCounter& counter, int64_t size, int64_t width, float* mask);
  UpdateKernels update;
  /// to = from; to[i] = i: a batch's ids and positions.
  void (*widen)(const int32_t* from, int64_t n, int64_t* to);
  void (*count_up)(int64_t n, int64_t* to);
};

/// Of each level that this processor has, the lowest first.
std::span<const Kernels* const> kernel_levels();
/// The highest of them.
const Kernels& kernels();

template <class A>
const KernelsOf<A>& kernels_of();
template <>
const KernelsOf<float>& kernels_of();
template <>
const KernelsOf<Bf16>& kernels_of();

}  // namespace fmtrain
