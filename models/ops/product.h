// Matrix products by the fastest library this build has, without autograd: oneDNN on the CPU in every precision, but for gradients of
// weights on processors without bf16. (ATen's own choice for fp32 is MKL, which runs AVX2 code on AMD processors: 112 against 250 GFLOP/s
// on one Zen 5 core.) The choice depends on types, devices and the processor only, so it is the same on every rank of one processor type.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <vector>

namespace fmtrain {

/// Rows of matrices whose first dimension is the number of tokens are padded with zeros to a multiple of this: a leaf's token count
/// is seldom seen twice, and oneDNN compiles code for every new shape (0.6 ms each).
inline constexpr int64_t kRowMultiple = 16;
constexpr int64_t padded_rows(int64_t rows) { return (rows + kRowMultiple - 1) / kRowMultiple * kRowMultiple; }

/// Whether this processor has instructions for products of `type`; products of 16 bits are else made in fp32 from copies, in which they are
/// exact and summed anyway, and their result is rounded. (ATen's own way without such instructions is 17 times slower than fp32 on a Zen 3.)
/// Of processors that are no x86-64 ATen is trusted to know.
bool multiplies(at::ScalarType type);

/// x [rows, in] times the transposed weight [out, in], plus bias [out] unless undefined -> [rows, out]; all of one floating-point
/// type, which the result has; sums are fp32. The weight may be packed.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

/// Weights as oneDNN multiplies with them, which it else makes of them in every product. For passes without gradients, while the weights do
/// not change; up to `bytes` of them, the first that come, for products with about `rows` rows. The same weights come first on all ranks,
/// and all must say the same rows, for the form may fix the bits (those of an AVX-512 machine were the same as without).
class PackedWeights {
 public:
  PackedWeights(int64_t bytes, int64_t rows) : room_(bytes), rows_(rows) {}
  /// For product(): packed, or the weight itself where there is no room left or no oneDNN. The weight is that of `parameter`, or begins with
  /// it: a weight may be made anew for every pass, a parameter stays.
  at::Tensor of(const at::Tensor& parameter, const at::Tensor& weight);

 private:
  struct Packed {
    at::Tensor parameter, packed;
  };
  std::vector<Packed> all_;
  int64_t room_, rows_;
};

/// dy [rows, out] times weight [out, in] -> [rows, in]: the gradient with respect to x.
at::Tensor product_grad_input(const at::Tensor& dy, const at::Tensor& weight);

/// dy [rows, out] transposed times x [rows, in] -> [out, in]: the gradient with respect to the weight. place: where it may be put, of that
/// shape and type, contiguous; or undefined.
at::Tensor product_grad_weight(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& place = {});

/// Three matrices of one shape [n, m] as [3 n, m], a view; undefined where they do not lie one after the other.
at::Tensor as_one(const at::Tensor& a, const at::Tensor& b, const at::Tensor& c);

}  // namespace fmtrain
