#include "models/ops/row_passes.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <span>
#include <vector>

#include "models/ops/kernels.h"

namespace fmtrain {
namespace {

constexpr int64_t kBlockRows = 32;    ///< rows whose column sums are one term of the whole
constexpr int64_t kGrain = 16 << 10;  ///< elements that are worth a thread's while

/// Calls body(row) for every row.
template <class Body>
void in_rows(int64_t rows, int64_t columns, const Body& body) {
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / columns), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) body(row);
  });
}

/// Calls body(row, sums) for every row, where sums [width] belongs to the row's block; out [width] = the blocks' sums in order.
template <class Body>
void in_blocks(int64_t rows, int64_t width, float* out, const Body& body) {
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  std::vector<float> partial(static_cast<size_t>(blocks * width), 0.0f);
  at::parallel_for(0, blocks, std::max<int64_t>(1, kGrain / (kBlockRows * width)), [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b)
      for (int64_t row = b * kBlockRows; row < std::min(rows, (b + 1) * kBlockRows); ++row) body(row, partial.data() + b * width);
  });
  std::fill_n(out, width, 0.0f);
  for (int64_t b = 0; b < blocks; ++b) kernels().fp32.add_to_sums(partial.data() + b * width, width, out);
}

/// Memory of a thread, kept from call to call.
float* scratch(int64_t floats) {
  thread_local std::vector<float> memory;
  if (std::ssize(memory) < floats) memory.resize(static_cast<size_t>(floats));
  return memory.data();
}

/// The mask of a row in `memory`; nullptr where nothing is dropped.
const float* mask_of(const DropoutKey& key, const RowIds& ids, int64_t row, int64_t columns, float* memory) {
  if (key.p == 0) return nullptr;
  dropout_mask(key, {static_cast<uint32_t>(ids.positions[row]), static_cast<uint32_t>(ids.samples[row])}, 0, {memory, static_cast<size_t>(columns)});
  return memory;
}

}  // namespace

template <class A>
void dropout_add_norm(const NormForward<A>& n, const DropoutKey& dropout) {
  in_rows(n.rows, n.columns, [&](int64_t row) {
    const int64_t d = n.columns, at = row * d;
    float* memory = scratch(2 * d);
    const NormRow<A> r{d, n.x + at, n.residual + at, mask_of(dropout, n.ids, row, d, memory + d), n.weight, n.bias, static_cast<float>(n.eps), n.y + at,
                       n.normalised ? n.normalised + at : nullptr, n.inverse ? n.inverse + row : nullptr};
    kernels_of<A>().norm(r, memory);
  });
}

template <class A>
void dropout_add_norm_backward(const NormBackward<A>& n, const DropoutKey& dropout) {
  const int64_t d = n.columns;
  std::vector<float> sums(static_cast<size_t>(3 * d));
  in_blocks(n.rows, 3 * d, sums.data(), [&](int64_t row, float* block) {
    const int64_t at = row * d;
    float* memory = scratch(3 * d);
    const NormRowBackward<A> r{d, n.grad_y + at, n.grad_y_too ? n.grad_y_too + at : nullptr, n.normalised + at, n.inverse[row],
                               mask_of(dropout, n.ids, row, d, memory + 2 * d), n.weight, n.grad_residual + at, n.grad_x + at, block};
    kernels_of<A>().norm_backward(r, memory);
  });
  std::copy_n(sums.data(), d, n.grad_weight);
  std::copy_n(sums.data() + d, d, n.grad_bias);
  std::copy_n(sums.data() + 2 * d, d, n.grad_x_sums);
}

template <class A>
void gelu_forward(const A* x, A* out, int64_t rows, int64_t columns) {
  in_rows(rows, columns, [&](int64_t row) { kernels_of<A>().gelu(x + row * columns, out + row * columns, columns); });
}

template <class A>
void gelu_backward(A* x, A* grad, int64_t rows, int64_t columns, float* sums) {
  in_blocks(rows, columns, sums, [&](int64_t row, float* block) { kernels_of<A>().gelu_backward(x + row * columns, grad + row * columns, columns, block); });
}

template <class A>
void column_sums(const A* x, int64_t rows, int64_t columns, float* sums) {
  in_blocks(rows, columns, sums, [&](int64_t row, float* block) { kernels_of<A>().add_to_sums(x + row * columns, columns, block); });
}

template <class A>
void add_into(A* to, const A* from, int64_t rows, int64_t columns) {
  in_rows(rows, columns, [&](int64_t row) { kernels_of<A>().add(to + row * columns, from + row * columns, columns); });
}

#define FMTRAIN_INSTANCES(A)                                                          \
  template void dropout_add_norm(const NormForward<A>&, const DropoutKey&);           \
  template void dropout_add_norm_backward(const NormBackward<A>&, const DropoutKey&); \
  template void gelu_forward(const A*, A*, int64_t, int64_t);                         \
  template void gelu_backward(A*, A*, int64_t, int64_t, float*);                      \
  template void column_sums(const A*, int64_t, int64_t, float*);                      \
  template void add_into(A*, const A*, int64_t, int64_t);
FMTRAIN_INSTANCES(float)
FMTRAIN_INSTANCES(Bf16)
#undef FMTRAIN_INSTANCES

}  // namespace fmtrain
