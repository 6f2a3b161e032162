#include "launch/threads.h"

#include <ATen/Parallel.h>

namespace fmtrain {

void set_threads(int64_t threads) { at::set_num_threads(static_cast<int>(threads)); }

}  // namespace fmtrain
