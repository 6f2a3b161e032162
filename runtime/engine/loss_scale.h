// Dynamic loss scale: fp16 holds nothing below 6e-8 and nothing above 65,504, so backward runs on a multiple of the loss that
// keeps gradients between the two (Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.2).
#pragma once
#include <cstdint>

#include "runtime/json.h"

namespace fmtrain {

/// Start, growth, backoff and interval are torch.amp.GradScaler's defaults. Always a power of two, so that scaling by it, and back,
/// rounds nothing that fp16 can hold.
class LossScale {
 public:
  static constexpr double kStart = 65'536, kLeast = 1, kMost = 16'777'216;
  static constexpr int64_t kInterval = 2'000;  ///< applied steps in a row after which it is doubled

  /// dynamic = false: 1 for ever, and no state.
  explicit LossScale(bool dynamic) : dynamic_(dynamic), value_(dynamic ? kStart : 1) {}
  double value() const { return value_; }
  /// After every step. A loss that is not finite says nothing about the scale, which only backward sees: it keeps its value.
  void update(bool applied, bool loss_is_finite);
  /// As members loss_scale and good_steps of an engine's small state. load throws CheckpointError when they cannot be what save wrote.
  void save(Json& small) const;
  void load(const Json& small);

 private:
  bool dynamic_;
  double value_;
  int64_t good_steps_ = 0;
};

}  // namespace fmtrain
