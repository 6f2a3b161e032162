// Multi-head self-attention over packed samples: every sample attends to its own rows only, and nothing is padded.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/ops/dropout.h"

namespace fmtrain {

/// Where the samples of a batch lie.
struct PackedRows {
  at::Tensor offsets;     ///< int64 [S+1] on the CPU
  at::Tensor sample_ids;  ///< int64 [S] on the CPU
};

/// qkv [T, 3 d]: queries, keys, values side by side, each `heads` blocks of d / heads columns; returns fp32 [T, d].
/// Per sample and head: softmax(Q K^T / sqrt(d / heads)) * mask, times V (Vaswani et al., 2017). The dropout counter of query
/// position i, head h, key j: block = h << 12 | j / 8. Differentiable. The bits of a sample do not depend on the rest of the batch
/// or on the number of threads.
at::Tensor packed_attention(const at::Tensor& qkv, const PackedRows& rows, int64_t heads, const DropoutKey& dropout);

/// The same by plain LibTorch operations, for tests and devices without an own kernel.
at::Tensor packed_attention_reference(const at::Tensor& qkv, const PackedRows& rows, int64_t heads, const DropoutKey& dropout);

}  // namespace fmtrain
