#include "runtime/engine/part_updates.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "models/ops/bf16.h"
#include "models/ops/on_gpu.h"

namespace fmtrain {
namespace {

/// Elements one thread takes at a time.
constexpr int64_t kUpdateGrain = 64 * 1024;

/// Calls use(first, count) for pieces of what `tensor` holds, on all threads.
template <class Use>
void in_parallel(const at::Tensor& tensor, const Use& use) {
  at::parallel_for(0, tensor.numel(), kUpdateGrain, [&](int64_t from, int64_t to) { use(from, to - from); });
}

float* data(const at::Tensor& tensor) { return tensor.data_ptr<float>(); }

/// Elements of a run whose gradient is not read; this many zeros stay in the first-level cache.
constexpr int64_t kQuietRun = 2048;
constexpr float kZeros[kQuietRun] = {};

/// What is known of a row: nothing; its gradient is zero; and its moments are as well.
enum class Row { kTouched, kQuiet, kAsleep };

Row kind_of(const QuietRows& quiet, int64_t row) {
  if (quiet.touched->has(row)) return Row::kTouched;
  return quiet.awake && !quiet.awake->has(row) ? Row::kAsleep : Row::kQuiet;
}

/// Calls use(i, n, kind) for runs of [from, to) of an array that begins at element `first` of the layout; a quiet run has at most kQuietRun.
template <class Use>
void by_runs(int64_t from, int64_t to, int64_t first, const QuietRows& quiet, const Use& use) {
  const Range table = quiet.touched ? quiet.table.range() : Range{};
  for (int64_t i = from, end; i < to; i = end) {
    const int64_t element = first + i;
    if (element < table.first || element >= table.last) {
      end = element < table.first ? std::min(to, table.first - first) : to;
      use(i, end - i, Row::kTouched);
      continue;
    }
    int64_t row = (element - table.first) / quiet.table.columns;
    const Row kind = kind_of(quiet, row);
    const int64_t most = kind == Row::kQuiet ? std::min(to, i + kQuietRun) : to;
    while (++row < quiet.table.rows && quiet.table.row(row).first < first + most && kind_of(quiet, row) == kind) {}
    end = std::min(most, quiet.table.row(row).first - first);
    use(i, end - i, kind);
  }
}

}  // namespace

void update_by_adamw(const AdamWUpdate& update, const at::Tensor& param, const GradientPiece& grad, const at::Tensor& exp_avg,
                     const at::Tensor& exp_avg_sq, int64_t first, const QuietRows& quiet, const at::Tensor& low) {
  if (param.is_cuda()) return adamw_on_gpu(update, param, grad.memory(), exp_avg, exp_avg_sq);
  auto* rounded = low.defined() ? static_cast<Bf16*>(low.data_ptr()) : nullptr;
  in_parallel(param, [&, p = data(param), m = data(exp_avg), v = data(exp_avg_sq)](int64_t from, int64_t count) {
    alignas(64) float room[GradientPiece::kPart];
    const auto apply = [&](int64_t i, int64_t n, const float* g) {
      if (rounded) apply_adamw(update, p + i, g, m + i, v + i, rounded + i, n);
      else apply_adamw(update, p + i, g, m + i, v + i, n);
    };
    by_runs(from, from + count, first, quiet, [&](int64_t i, int64_t n, Row kind) {
      if (kind == Row::kAsleep) apply_decay(update, p + i, n);  // a table has no copy of 16 bits
      else if (kind == Row::kQuiet) apply(i, n, kZeros);
      else grad.each(i, n, room, apply);
    });
  });
}

void round_low(const at::Tensor& param, const at::Tensor& low) {
  in_parallel(param, [p = data(param), to = static_cast<Bf16*>(low.data_ptr())](int64_t i, int64_t n) { round_to_bf16(p + i, to + i, n); });
}

void update_by_sgd(const SgdUpdate& update, const at::Tensor& param, const at::Tensor& grad, const at::Tensor& buffer) {
  if (param.is_cuda()) return sgd_on_gpu(update, param, grad, buffer);
  in_parallel(param, [&, p = data(param), g = data(grad), b = data(buffer)](int64_t i, int64_t n) {
    apply_sgd(update, p + i, g + i, b + i, n);
  });
}

// On a GPU the following are ATen's own elementwise operations. On the CPU these compute the ends of a tensor otherwise than its
// middle, so the bits would depend on where memory is cut.

void make_lamb_direction(const LambUpdate& update, const at::Tensor& param, const at::Tensor& grad, const at::Tensor& exp_avg,
                         const at::Tensor& exp_avg_sq) {
  if (param.is_cuda()) {
    const AdamWUpdate& u = update.adam;
    grad.mul_(u.scale);
    exp_avg.add_(grad - exp_avg, u.one_minus_beta1);
    exp_avg_sq.mul_(u.beta2).addcmul_(grad, grad, u.one_minus_beta2);
    const auto root = exp_avg_sq.sqrt().mul_(u.inverse_root).add_(u.eps);
    grad.copy_(exp_avg / root).mul_(u.step_size).add_(param, update.weight_decay);
    return;
  }
  in_parallel(param, [&, p = data(param), g = data(grad), m = data(exp_avg), v = data(exp_avg_sq)](int64_t i, int64_t n) {
    lamb_direction(update, p + i, g + i, m + i, v + i, n);
  });
}

void update_by_direction(double step_size, const at::Tensor& param, const at::Tensor& direction) {
  const auto factor = static_cast<float>(step_size);
  if (param.is_cuda()) param.sub_(direction, factor);
  else in_parallel(param, [&, p = data(param), d = data(direction)](int64_t i, int64_t n) { apply_direction(factor, p + i, d + i, n); });
}

void pull_towards(const at::Tensor& start, double strength, const at::Tensor& param) {
  const auto factor = static_cast<float>(strength);
  if (param.is_cuda()) param.sub_(param - start, factor);
  else in_parallel(param, [&, p = data(param), s = data(start)](int64_t i, int64_t n) { apply_pull(factor, p + i, s + i, n); });
}

int64_t norm_blocks(Range range) {
  return range.numel() == 0 ? 0 : (range.last - 1) / kNormBlock - range.first / kNormBlock + 1;
}

void block_sums(const GradientPiece& part, int64_t first, const at::Tensor& sums, const QuietRows& quiet) {
  const int64_t numel = part.numel(), head = std::min(numel, kNormBlock - first % kNormBlock);
  if (sums.is_cuda()) {
    if (head > 0) sums_of_squares_on_gpu(part.narrow(0, head).memory(), kNormBlock, sums.narrow(0, 0, 1));
    if (head < numel) sums_of_squares_on_gpu(part.narrow(head, numel - head).memory(), kNormBlock, sums.narrow(0, 1, sums.numel() - 1));
    return;
  }
  double* out = sums.data_ptr<double>();
  at::parallel_for(0, sums.numel(), 16, [&](int64_t from, int64_t to) {
    alignas(64) float room[GradientPiece::kPart];
    for (int64_t b = from; b < to; ++b) {
      const int64_t begin = b == 0 ? 0 : head + (b - 1) * kNormBlock, end = std::min(numel, head + b * kNormBlock);
      SumOfSquares sum;
      if (!quiet.cover({first + begin, first + end})) part.each(begin, end - begin, room, [&](int64_t, int64_t n, const float* values) { sum.add(values, n); });
      out[b] = sum.value();
    }
  });
}

}  // namespace fmtrain
