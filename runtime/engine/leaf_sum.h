// One rank's leaf gradients, added in the fixed binary tree ((g0+g1)+(g2+g3))+..., tensor by tensor while backward runs.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/engine/flat_params.h"
#include "runtime/engine/table_exchange.h"

namespace fmtrain {

class LeafSum {
 public:
  /// `result` is fp32 [layout.numel]; the sum ends there. exact = false: one running sum instead of the tree. Of the table (on the
  /// CPU; table_of(layout)) only the rows are cleared and added that a leaf or the last result has. The layout must outlive this object.
  LeafSum(const FlatLayout& layout, at::Tensor result, bool exact, const std::optional<Table>& table = {});
  /// A new step with `leaves` leaves on this rank, of the tensors from `first` on; of those below, the result is left as it is. No
  /// leaf: the result is -0.0 everywhere, for x + -0.0 == x also where x is -0.0; but the table is +0.0.
  void begin(int64_t leaves, size_t first = 0);
  /// The gradient of tensor number `tensor` in the current leaf, fp32 or what widens to it; each tensor at most once a leaf.
  void add(size_t tensor, const at::Tensor& gradient);
  /// Ends the current leaf; tensors that got no gradient count as zero.
  void finish_leaf();
  /// True while the leaf in progress is the last: what add() leaves in the result is then final for that tensor.
  bool last_leaf() const { return leaf_ + 1 == leaves_; }
  /// Rows of the table in which the result may not be +0.0.
  const RowSet& touched() const { return touched_[0]; }
  /// Something else was written to these rows of the result.
  void also_touched(const RowSet& rows) { touched_[0].unite(rows); }
  void all_touched() { touched_[0].insert_all(); }

 private:
  void sum(size_t tensor, const at::Tensor* gradient);
  bool is_table(size_t tensor) const { return table_ && table_->tensor == tensor; }
  at::Tensor part(size_t buffer, size_t tensor);
  void clear_rows(size_t buffer);
  void add_rows(size_t buffer, const at::Tensor* gradient);
  void merge(size_t buffer, size_t tensor);
  const FlatLayout& layout_;
  bool exact_;
  std::optional<Table> table_;
  std::vector<at::Tensor> buffers_;  ///< partial sums of falling size, as the ones of a binary counter; [0] is the result
  std::vector<RowSet> touched_;      ///< of each buffer's table
  std::vector<bool> seen_;
  size_t first_ = 0;  ///< tensor
  int64_t leaf_ = 0, leaves_ = 0;
};

}  // namespace fmtrain
