// Tests that need a GPU. Without one a program runs none of them, says so, and ends with 77, which ctest shows as skipped.
#pragma once
#include <gtest/gtest.h>

#include <cstdio>

#include "comm/gpu.h"

namespace fmtrain {

inline int run_tests_with_gpus(size_t needed) {
  const size_t found = visible_gpus().size();
  if (found >= needed) return RUN_ALL_TESTS();
  std::printf("[  SKIPPED ] all %d tests: they need %zu GPUs, this process sees %zu\n",
              testing::UnitTest::GetInstance()->total_test_count(), needed, found);
  return 77;
}

}  // namespace fmtrain
