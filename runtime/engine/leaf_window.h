// The gradient of a single leaf a rank, in the type in which it was made: with one leaf a rank nothing is added up before ranks meet,
// so weights' gradients stay bf16 until then, which halves what is written and read between backward and the update. The sums are
// those of LeafSum, bit for bit, for widening is exact.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "comm/communicator.h"
#include "runtime/engine/flat_params.h"
#include "runtime/engine/row_set.h"

namespace fmtrain {

class LeafWindow {
 public:
  /// narrow[t]: tensor t arrives as bf16. Those that share a bucket of `plan` with the table are widened and go with the rest, in fp32;
  /// the table itself is not held here. Collective. Layout and plan must outlive this object.
  LeafWindow(Communicator& comm, const FlatLayout& layout, const ShardPlan& plan, const std::vector<bool>& narrow, const std::optional<Table>& table);
  /// A new step, of the tensors from `first` on. No leaf on this rank: -0.0 everywhere, for x + -0.0 == x also where x is -0.0.
  void begin(bool leaf, size_t first);
  /// Each tensor at most once a leaf, not the table.
  void add(size_t tensor, const at::Tensor& gradient);
  /// Tensors that got no gradient count as zero.
  void finish_leaf();
  /// This rank's piece of a bucket, summed over ranks, into shard (fp32); +0.0 where the rest goes. Nothing for the table's buckets.
  Work reduce(size_t bucket, at::Tensor shard, ReduceOp op);
  /// The rest, by itself: put(range of the layout, its sums).
  void reduce_rest(ReduceOp op, const std::function<void(Range, const float*)>& put);

 private:
  at::Tensor place(size_t tensor) const;
  Communicator& comm_;
  const FlatLayout& layout_;
  const ShardPlan& plan_;
  std::vector<bool> narrow_, seen_;
  std::vector<int64_t> at_rest_;  ///< of each tensor, where it begins in rest_; -1: narrow, or the table
  int64_t first_element_ = 0;     ///< of the layout, where the window begins
  at::Tensor window_;             ///< bf16, the layout from there on
  at::Tensor rest_;               ///< fp32
  size_t first_ = 0;              ///< tensor
};

}  // namespace fmtrain
