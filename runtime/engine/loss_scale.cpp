#include "runtime/engine/loss_scale.h"

#include <algorithm>
#include <cmath>

#include "runtime/errors.h"

namespace fmtrain {

void LossScale::update(bool applied, bool loss_is_finite) {
  if (!dynamic_) return;
  good_steps_ = applied ? good_steps_ + 1 : 0;
  if (!applied && loss_is_finite) value_ = std::max(kLeast, value_ / 2);
  if (good_steps_ < kInterval) return;
  value_ = std::min(kMost, 2 * value_);
  good_steps_ = 0;
}

void LossScale::save(Json& small) const {
  if (dynamic_) small.update({{"loss_scale", value_}, {"good_steps", good_steps_}});
}

void LossScale::load(const Json& small) {
  if (!dynamic_) return;
  const Json value = small.value("loss_scale", Json()), good = small.value("good_steps", Json());
  int exponent = 0;
  const bool right = value.is_number() && good.is_number_integer() && value >= kLeast && value <= kMost && good >= 0 && good < kInterval &&
                     std::frexp(value.get<double>(), &exponent) == 0.5;
  if (!right) throw CheckpointError("the checkpoint's loss_scale or good_steps is not what an fp16 run saves; resume from an older one");
  value_ = value.get<double>();
  good_steps_ = good.get<int64_t>();
}

}  // namespace fmtrain
