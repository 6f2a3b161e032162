#include "models/ops/attention.h"

#include <ATen/Parallel.h>
#include <torch/autograd.h>

#include <cmath>
#include <cstring>

#include "models/ops/multiversion.h"
#include "models/ops/small_gemm.h"

namespace fmtrain {
namespace {

constexpr int64_t kLanes = 16;
int64_t padded(int64_t s) { return (s + kLanes - 1) / kLanes * kLanes; }

/// e^x for x <= 0, 0 below -87; relative error about 2e-7 (polynomial of Cephes' expf).
inline __attribute__((always_inline)) float exp_negative(float x) {
  const float clamped = x < -87.0f ? -87.0f : x;
  const float shifted = clamped * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the low bits are the rounded quotient
  const float n = shifted - 12582912.0f;
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  int32_t bits;
  std::memcpy(&bits, &shifted, 4);
  const int32_t exponent = (bits + 127) << 23;
  float power;
  std::memcpy(&power, &exponent, 4);
  return x < -87.0f ? 0.0f : y * power;
}

/// One sample and head: what the kernels read and write. Row stride of q, k, v and their gradients: `stride`.
struct Job {
  int64_t s, dh, stride, out_stride;
  float scale;
  const float *q, *k, *v;
  float* probs;  ///< [s, s], softmax before dropout
  float* out;    ///< [s, out_stride]
  const float* grad_out;
  float *grad_q, *grad_k, *grad_v;
};

/// Scratch memory of one thread; rows are padded to a multiple of kLanes, and the padding is zero.
struct Scratch {
  std::vector<float> transposed, scores, grads, mask;
  void resize(int64_t s, int64_t dh) {
    const auto sp = static_cast<size_t>(padded(s));
    if (scores.size() >= sp * sp && transposed.size() >= sp * static_cast<size_t>(dh)) return;
    transposed.resize(sp * static_cast<size_t>(dh));
    scores.resize(sp * sp);
    grads.resize(sp * sp);
    mask.resize(sp * sp);
  }
};

void transpose(const float* x, int64_t rows, int64_t cols, int64_t stride, float* out) {
  const int64_t width = padded(rows);
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t r = 0; r < rows; ++r) out[c * width + r] = x[r * stride + c];
    for (int64_t r = rows; r < width; ++r) out[c * width + r] = 0;
  }
}

FMTRAIN_MULTIVERSION
void softmax_rows(float* x, int64_t s, float scale) {
  const int64_t width = padded(s);
  for (int64_t i = 0; i < s; ++i, x += width) {
    for (int64_t j = s; j < width; ++j) x[j] = -INFINITY;
    float top[kLanes], sums[kLanes] = {};
    for (int64_t l = 0; l < kLanes; ++l) top[l] = x[l];
    for (int64_t j = kLanes; j < width; j += kLanes)
      for (int64_t l = 0; l < kLanes; ++l) top[l] = x[j + l] > top[l] ? x[j + l] : top[l];
    float largest = top[0];
    for (int64_t l = 1; l < kLanes; ++l) largest = top[l] > largest ? top[l] : largest;
    for (int64_t j = 0; j < width; j += kLanes)
      for (int64_t l = 0; l < kLanes; ++l) {
        x[j + l] = exp_negative((x[j + l] - largest) * scale);
        sums[l] += x[j + l];
      }
    float sum = 0;
    for (int64_t l = 0; l < kLanes; ++l) sum += sums[l];
    const float inverse = 1.0f / sum;
    for (int64_t j = 0; j < width; ++j) x[j] *= inverse;
  }
}

FMTRAIN_MULTIVERSION
void multiply(int64_t m, int64_t n, int64_t k, small::Strided a, const float* b, int64_t ldb, float* c, int64_t ldc) {
  small::multiply(m, n, k, a, b, ldb, c, ldc);
}

FMTRAIN_MULTIVERSION
void multiply_elements(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] *= y[i];
}

/// grads = probs * (grads - rowsum(grads * probs)) * scale
FMTRAIN_MULTIVERSION
void softmax_backward_rows(float* grads, const float* probs, int64_t s, float scale) {
  const int64_t width = padded(s);
  for (int64_t i = 0; i < s; ++i, grads += width, probs += width) {
    float sums[kLanes] = {}, sum = 0;
    for (int64_t j = 0; j < width; j += kLanes)
      for (int64_t l = 0; l < kLanes; ++l) sums[l] += grads[j + l] * probs[j + l];
    for (int64_t l = 0; l < kLanes; ++l) sum += sums[l];
    for (int64_t j = 0; j < width; ++j) grads[j] = probs[j] * (grads[j] - sum) * scale;
  }
}

void copy_rows(const float* from, int64_t from_stride, float* to, int64_t to_stride, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    std::memcpy(to + i * to_stride, from + i * from_stride, static_cast<size_t>(columns) * sizeof(float));
    for (int64_t j = columns; j < to_stride; ++j) to[i * to_stride + j] = 0;
  }
}

void forward_one(const Job& job, Scratch& t, const DropoutKey& dropout, uint32_t sample, int64_t head) {
  const int64_t width = padded(job.s);
  transpose(job.k, job.s, job.dh, job.stride, t.transposed.data());
  multiply(job.s, width, job.dh, {job.q, job.stride, 1}, t.transposed.data(), width, t.scores.data(), width);
  softmax_rows(t.scores.data(), job.s, job.scale);
  if (job.probs)
    for (int64_t i = 0; i < job.s; ++i) std::memcpy(job.probs + i * job.s, t.scores.data() + i * width, static_cast<size_t>(job.s) * sizeof(float));
  if (dropout.p > 0) {
    dropout_square(dropout, sample, static_cast<uint32_t>(head << 12), job.s, width, t.mask.data());
    multiply_elements(t.scores.data(), t.mask.data(), job.s * width);
  }
  multiply(job.s, job.dh, job.s, {t.scores.data(), width, 1}, job.v, job.stride, job.out, job.out_stride);
}

void backward_one(const Job& job, Scratch& t, const DropoutKey& dropout, uint32_t sample, int64_t head) {
  const int64_t width = padded(job.s), s = job.s, dh = job.dh;
  const bool drop = dropout.p > 0;
  if (drop) dropout_square(dropout, sample, static_cast<uint32_t>(head << 12), s, width, t.mask.data());
  copy_rows(job.probs, s, t.scores.data(), width, s, s);
  if (drop) multiply_elements(t.scores.data(), t.mask.data(), s * width);
  multiply(s, dh, s, {t.scores.data(), 1, width}, job.grad_out, job.out_stride, job.grad_v, job.stride);  // P'^T dO
  transpose(job.v, s, dh, job.stride, t.transposed.data());
  multiply(s, width, dh, {job.grad_out, job.out_stride, 1}, t.transposed.data(), width, t.grads.data(), width);  // dO V^T
  if (drop) multiply_elements(t.grads.data(), t.mask.data(), s * width);
  copy_rows(job.probs, s, t.scores.data(), width, s, s);
  softmax_backward_rows(t.grads.data(), t.scores.data(), s, job.scale);
  multiply(s, dh, s, {t.grads.data(), width, 1}, job.k, job.stride, job.grad_q, job.stride);  // dS K
  multiply(s, dh, s, {t.grads.data(), 1, width}, job.q, job.stride, job.grad_k, job.stride);  // dS^T Q
}

/// First element of each sample's probabilities; the last entry is their total.
std::vector<int64_t> probability_offsets(const at::Tensor& offsets, int64_t heads) {
  std::vector<int64_t> at{0};
  const auto* o = offsets.data_ptr<int64_t>();
  for (int64_t i = 0; i + 1 < offsets.size(0); ++i) at.push_back(at.back() + heads * (o[i + 1] - o[i]) * (o[i + 1] - o[i]));
  return at;
}

/// Runs `body` for every sample and head; `grad` tensors may be undefined.
template <class Body>
void for_each_head(const at::Tensor& qkv, const PackedRows& rows, int64_t heads, const at::Tensor& probs, const at::Tensor& out,
                   const at::Tensor& grad_out, const at::Tensor& grad_qkv, const Body& body) {
  const auto* offsets = rows.offsets.data_ptr<int64_t>();
  const auto* ids = rows.sample_ids.data_ptr<int64_t>();
  const auto at_probs = probability_offsets(rows.offsets, heads);
  const int64_t d = qkv.size(1) / 3, dh = d / heads;
  const auto row = [](const at::Tensor& t, int64_t offset) { return t.defined() ? t.data_ptr<float>() + offset : nullptr; };
  at::parallel_for(0, rows.sample_ids.size(0) * heads, 1, [&](int64_t first, int64_t last) {
    Scratch scratch;
    for (int64_t n = first; n < last; ++n) {
      const int64_t sample = n / heads, h = n % heads, s = offsets[sample + 1] - offsets[sample];
      const int64_t at_qkv = offsets[sample] * 3 * d + h * dh, at_out = offsets[sample] * d + h * dh;
      scratch.resize(s, dh);
      const Job job{s, dh, 3 * d, d, static_cast<float>(1.0 / std::sqrt(static_cast<double>(dh))), row(qkv, at_qkv), row(qkv, at_qkv + d),
                    row(qkv, at_qkv + 2 * d), row(probs, at_probs[static_cast<size_t>(sample)] + h * s * s), row(out, at_out), row(grad_out, at_out),
                    row(grad_qkv, at_qkv), row(grad_qkv, at_qkv + d), row(grad_qkv, at_qkv + 2 * d)};
      body(job, scratch, static_cast<uint32_t>(ids[sample]), h);
    }
  });
}

at::Tensor forward_all(const at::Tensor& qkv, const PackedRows& rows, int64_t heads, const DropoutKey& dropout, const at::Tensor& probs) {
  auto out = at::empty({qkv.size(0), qkv.size(1) / 3}, qkv.options());
  for_each_head(qkv, rows, heads, probs, out, {}, {}, [&](const Job& job, Scratch& t, uint32_t sample, int64_t h) { forward_one(job, t, dropout, sample, h); });
  return out;
}

class PackedAttention final : public torch::autograd::Function<PackedAttention> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& qkv, const PackedRows& rows, int64_t heads, const DropoutKey& key) {
    const auto probs = at::empty({probability_offsets(rows.offsets, heads).back()}, qkv.options());
    ctx->save_for_backward({qkv, rows.offsets, rows.sample_ids, probs});
    ctx->saved_data["key"] = key.saved();
    ctx->saved_data["heads"] = heads;
    return forward_all(qkv, rows, heads, key, probs);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, const torch::autograd::variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto key = DropoutKey::restored(ctx->saved_data["key"].toIntVector());
    auto grad_qkv = at::empty_like(saved[0]);
    for_each_head(saved[0], {saved[1], saved[2]}, ctx->saved_data["heads"].toInt(), saved[3], {}, grads[0].contiguous(), grad_qkv,
                  [&](const Job& job, Scratch& t, uint32_t sample, int64_t h) { backward_one(job, t, key, sample, h); });
    return {grad_qkv, {}, {}, {}};
  }
};

}  // namespace

at::Tensor packed_attention(const at::Tensor& qkv, const PackedRows& rows, int64_t heads, const DropoutKey& dropout) {
  if (!qkv.is_cpu()) return packed_attention_reference(qkv, rows, heads, dropout);
  const auto x = qkv.to(at::kFloat).contiguous();
  if (!at::GradMode::is_enabled() || !x.requires_grad()) return forward_all(x, rows, heads, dropout, {});
  return PackedAttention::apply(x, rows, heads, dropout);
}

}  // namespace fmtrain
