// The reduced gradient of a range of the layout, as the update reads it: fp32 values in memory, or values that are made when they are
// read, so that they need no memory of their own.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "runtime/engine/shard_plan.h"

namespace fmtrain {

class GradientSource {
 public:
  /// The reduced gradient of a range of the layout: where it lies, or put into room [range.numel()]. Any thread.
  virtual const float* read(Range range, float* room) const = 0;

 protected:
  ~GradientSource() = default;
};

class GradientPiece {
 public:
  /// memory: fp32 [numel], contiguous.
  GradientPiece(at::Tensor memory) : memory_(std::move(memory)), range_{0, memory_.numel()} {}
  /// The source outlives this.
  GradientPiece(const GradientSource& source, Range range) : source_(&source), range_(range) {}
  int64_t numel() const { return range_.numel(); }
  GradientPiece narrow(int64_t first, int64_t n) const {
    if (source_) return {*source_, {range_.first + first, range_.first + first + n}};
    return memory_.narrow(0, first, n);
  }
  /// For what reads it whole, or writes there.
  const at::Tensor& memory() const {
    TORCH_CHECK(!source_, "a gradient that is nowhere in memory");
    return memory_;
  }
  static constexpr int64_t kPart = 1024;  ///< elements that stay in the first-level cache beside all that is updated with them
  /// Calls use(i, count, values) for consecutive parts of [first, first + n), of kPart elements but for the last where they are made, else
  /// one; room: kPart floats.
  template <class Use>
  void each(int64_t first, int64_t n, float* room, const Use& use) const {
    if (!source_) return use(first, n, memory_.const_data_ptr<float>() + first);
    for (int64_t i = first, count; i < first + n; i += count) {
      count = std::min(kPart, first + n - i);
      use(i, count, source_->read({range_.first + i, range_.first + i + count}, room));
    }
  }

 private:
  const GradientSource* source_ = nullptr;
  at::Tensor memory_;
  Range range_;  ///< of the layout; of the memory, from 0, if there is no source
};

}  // namespace fmtrain
