// Threads of a rank.
#pragma once
#include <cstdint>

namespace fmtrain {

/// Threads that one operation may use in this process.
void set_threads(int64_t threads);

}  // namespace fmtrain
