#include "models/ops/attention.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>

#include "models/ops/kernels.h"

namespace fmtrain {
namespace {

/// Memory of a thread, kept from call to call; 64-byte aligned.
float* aligned_scratch(int64_t floats) {
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<float, Free> memory;
  thread_local int64_t size = 0;
  if (size < floats) {
    memory.reset(static_cast<float*>(std::aligned_alloc(64, (static_cast<size_t>(floats) * sizeof(float) + 63) / 64 * 64)));
    size = memory ? floats : 0;
    if (!memory) throw std::bad_alloc();
  }
  return memory.get();
}

/// body(rows of the head, first row of the sample, number of the head) for every sample and head.
template <class A, class Body>
void for_each_head(const Attention<A>& a, float* softmax, const Body& body) {
  const auto* offsets = a.rows.offsets.template const_data_ptr<int64_t>();
  const auto* ids = a.rows.sample_ids.template const_data_ptr<int64_t>();
  const int64_t d = a.width, dh = d / a.heads;
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dh)));
  at::parallel_for(0, a.rows.sample_ids.size(0) * a.heads, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t sample = i / a.heads, h = i % a.heads, row = offsets[sample], s = offsets[sample + 1] - row;
      const A* q = a.qkv + row * 3 * d + h * dh;
      float* kept = softmax ? softmax + (row * a.heads + h) * 2 : nullptr;
      const auto mask = mask_counter(a.dropout, {0, static_cast<uint32_t>(ids[sample])}, static_cast<uint32_t>(h << 12));
      float* memory = aligned_scratch(attention_scratch(s, dh));
      body(HeadRows<A>{s, dh, q, q + d, q + 2 * d, 3 * d, scale, mask, kept, 2 * a.heads, memory}, row, h);
    }
  });
}

}  // namespace

template <class A>
void attention_forward(const Attention<A>& a, A* context, float* softmax) {
  const int64_t d = a.width, dh = d / a.heads;
  for_each_head(a, softmax, [&](const HeadRows<A>& head, int64_t row, int64_t h) { kernels_of<A>().attention(head, context + row * d + h * dh, d); });
}

template <class A>
void attention_backward(const Attention<A>& a, float* softmax, const A* grad_context, A* grad_qkv) {
  const int64_t d = a.width, dh = d / a.heads;
  for_each_head(a, softmax, [&](const HeadRows<A>& head, int64_t row, int64_t h) {
    A* grad = grad_qkv + row * 3 * d + h * dh;
    kernels_of<A>().attention_backward(head, grad_context + row * d + h * dh, d, grad, grad + d, grad + 2 * d);
  });
}

template void attention_forward(const Attention<float>&, float*, float*);
template void attention_forward(const Attention<Bf16>&, Bf16*, float*);
template void attention_backward(const Attention<float>&, float*, const float*, float*);
template void attention_backward(const Attention<Bf16>&, float*, const Bf16*, Bf16*);

}  // namespace fmtrain
