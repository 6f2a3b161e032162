// Compiled once a processor level, with the level's flags and FMTRAIN_LEVEL naming its table. Nothing here may leave an inline function
// that another file could link to: only always-inline ones and this namespace, no standard containers.
#include "models/ops/attention_kernels.h"
#include "models/ops/kernels.h"
#include "models/ops/mask_kernels.h"
#include "models/ops/row_kernels.h"
#include "models/ops/update_kernels.h"

#define FMTRAIN_TEXT(x) #x
#define FMTRAIN_NAME(x) FMTRAIN_TEXT(x)

namespace fmtrain {
namespace {

template <class A>
constexpr KernelsOf<A> table() {
  return {norm_row<A>, norm_row_backward<A>, gelu_row<A>, gelu_row_backward<A>, add_to_sums<A>, put_in_sums<A>, put_sum<A>, add_rows<A>, attention_head<A>, attention_head_backward<A>};
}

}  // namespace

extern const Kernels FMTRAIN_LEVEL;
const Kernels FMTRAIN_LEVEL{FMTRAIN_NAME(FMTRAIN_LEVEL), table<float>(), table<Bf16>(), mask_row, mask_square,
                            {adamw, adamw_low, decay, round_low, sgd, lamb, direction, pull, add_squares}, widen, count_up};

}  // namespace fmtrain
