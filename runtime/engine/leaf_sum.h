// One rank's leaf gradients, added in the fixed binary tree ((g0+g1)+(g2+g3))+..., tensor by tensor while backward runs.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "runtime/engine/flat_params.h"

namespace fmtrain {

class LeafSum {
 public:
  /// `result` is fp32 [layout.numel]; the sum ends there. exact = false: one running sum instead of the tree. The layout must
  /// outlive this object.
  LeafSum(const FlatLayout& layout, at::Tensor result, bool exact);
  /// A new step with `leaves` leaves on this rank, of the tensors from `first` on; of those below, the result is left as it is. No
  /// leaf: the result is -0.0 everywhere, for x + -0.0 == x also where x is -0.0.
  void begin(int64_t leaves, size_t first = 0);
  /// The gradient of tensor number `tensor` in the current leaf; each tensor at most once a leaf.
  void add(size_t tensor, const at::Tensor& gradient);
  /// Ends the current leaf; tensors that got no gradient count as zero.
  void finish_leaf();
  /// True while the leaf in progress is the last: what add() leaves in the result is then final for that tensor.
  bool last_leaf() const { return leaf_ + 1 == leaves_; }

 private:
  at::Tensor part(size_t buffer, size_t tensor);
  const FlatLayout& layout_;
  bool exact_;
  std::vector<at::Tensor> buffers_;  ///< partial sums of falling size, as the ones of a binary counter; [0] is the result
  std::vector<bool> seen_;
  size_t first_ = 0;  ///< tensor
  int64_t leaf_ = 0, leaves_ = 0;
};

}  // namespace fmtrain
