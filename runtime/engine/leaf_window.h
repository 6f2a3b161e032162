// The gradient of a single leaf a rank, in the type in which it was made: with one leaf a rank nothing is added up before ranks meet,
// so weights' gradients stay bf16 until then, which halves what is written and read between backward and the update. Where every rank
// can read those of the others, their sums are made whenever they are read, and never written. They are those of LeafSum, bit for bit,
// for widening is exact.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "models/ops/bf16.h"
#include "runtime/engine/flat_params.h"
#include "runtime/engine/gradient_piece.h"
#include "runtime/engine/row_set.h"
#include "runtime/engine/shard_groups.h"

namespace fmtrain {

/// sums[i] = the addends' [first + i], bf16, one of each rank, in the order of ReduceOp::kTreeSum.
void add_in_order(std::span<const Bf16* const> addends, int64_t first, int64_t n, float* sums);

class LeafWindow final : public GradientSource {
 public:
  /// narrow[t]: tensor t arrives as bf16. Those that share a bucket of `plan` with the table are widened and go with the rest, in fp32;
  /// the table itself is not held here. readable: sums need not be written where ranks can make them whenever they read, which those of one of several copies cannot.
  /// Collective. Layout and plan must outlive this object.
  LeafWindow(const ShardGroups& groups, const FlatLayout& layout, const ShardPlan& plan, const std::vector<bool>& narrow,
             const std::optional<Table>& table, bool readable);
  /// A new step, of the tensors from `first` on. No leaf on this rank: -0.0 everywhere, for x + -0.0 == x also where x is -0.0.
  void begin(bool leaf, size_t first);
  /// Where a narrow tensor's gradient may be put before it is added; else undefined.
  at::Tensor place_for(size_t tensor) const;
  /// Each tensor at most once a leaf, not the table.
  void add(size_t tensor, const at::Tensor& gradient);
  /// Tensors that got no gradient count as zero.
  void finish_leaf();
  /// Buckets below this one are written, each range by its rank: all of them, unless they can be read.
  size_t written_buckets() const { return written_; }
  /// The first element of the layout that can be in the window.
  int64_t first_element() const { return first_element_; }
  /// This rank's piece of a written bucket, summed over all ranks, into shard (fp32); +0.0 where the rest goes. Nothing for the table's buckets.
  Work reduce(size_t bucket, at::Tensor shard, ReduceOp op);
  /// The rest, by itself: put(range of the layout, its sums). From here on the other buckets can be read; a collective stands between
  /// the last read of any rank and the next begin() or write.
  void reduce_rest(ReduceOp op, const std::function<void(Range, const float*)>& put);
  /// Of a bucket that is not written.
  const float* read(Range range, float* room) const override;

 private:
  /// What a tensor has in rest_.
  struct Rest {
    Range range;  ///< of the layout
    int64_t at;
  };
  at::Tensor place(size_t tensor) const;
  ShardGroups groups_;
  const FlatLayout& layout_;
  const ShardPlan& plan_;
  std::vector<bool> narrow_, seen_;
  std::vector<int64_t> at_rest_;  ///< of each tensor, where it begins in rest_; -1: narrow, or the table
  std::vector<Rest> rests_;       ///< the same, of those that are there, ascending
  std::vector<const Bf16*> addends_;  ///< every rank's window; none: they cannot be read
  size_t written_;
  int64_t first_element_ = 0;     ///< of the layout, where the window begins
  at::Tensor window_;             ///< bf16, the layout from there on
  at::Tensor rest_;               ///< fp32
  size_t first_ = 0;              ///< tensor
};

}  // namespace fmtrain
