// Multi-head self-attention over packed samples: every sample attends to its own rows only, and nothing is padded.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/ops/bf16.h"
#include "models/ops/dropout.h"

namespace fmtrain {

/// Where the samples of a batch lie.
struct PackedRows {
  at::Tensor offsets;     ///< int64 [S+1] on the CPU
  at::Tensor sample_ids;  ///< int64 [S] on the CPU
};

/// qkv [T, 3 d]: queries, keys, values side by side, each `heads` blocks of d / heads columns; returns fp32 [T, d].
/// Per sample and head: softmax(Q K^T / sqrt(d / heads)) * mask, times V (Vaswani et al., 2017). The dropout counter of query
/// position i, head h, key j: block = h << 12 | j / 8. Differentiable, by plain LibTorch operations: for every device and type.
at::Tensor packed_attention_reference(const at::Tensor& qkv, const PackedRows& rows, int64_t heads, const DropoutKey& dropout);

/// The same by kernels for the CPU, on activations of type float or Bf16 (bf16.h), computed in fp32; not differentiable. The bits of a
/// sample do not depend on the rest of the batch or on the number of threads. Of the probabilities nothing is kept but what makes them
/// again (Dao et al., "FlashAttention", 2022): of every row and head the largest score and the inverse of the sum of exponentials.
template <class A>
struct Attention {
  const A* qkv;        ///< [T, 3 d]
  int64_t width;       ///< d
  int64_t heads;
  PackedRows rows;
  DropoutKey dropout;
};
/// context [T, d]; softmax [T, heads, 2], or nullptr where no backward follows.
template <class A>
void attention_forward(const Attention<A>& a, A* context, float* softmax);
template <class A>
void attention_backward(const Attention<A>& a, float* softmax, const A* grad_context, A* grad_qkv);

}  // namespace fmtrain
