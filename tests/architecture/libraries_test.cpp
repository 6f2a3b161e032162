// What the process has mapped once LibTorch computes.
#include <gtest/gtest.h>
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "runtime/data/h5.h"

namespace fmtrain {
namespace {

/// Files mapped under a name that begins with `start`.
std::set<std::string> mapped(const std::string& start) {
  std::set<std::string> files;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const auto path = line.find('/'), name = line.rfind('/');
    if (path != std::string::npos && line.compare(name + 1, start.size(), start) == 0) files.insert(line.substr(path));
  }
  return files;
}

/// Two pools of threads would share the cores badly, and sums of LibTorch would depend on which one serves them.
TEST(Libraries, ThereIsOneOpenMpRuntime) {
  EXPECT_FALSE(hdf5_version().empty());
  EXPECT_EQ(at::mm(at::ones({64, 64}), at::ones({64, 64})).sum().item<double>(), 64.0 * 64 * 64);
  EXPECT_EQ(mapped("libgomp").size(), 1u) << testing::PrintToString(mapped("libgomp"));
  EXPECT_TRUE(mapped("libomp").empty()) << testing::PrintToString(mapped("libomp"));
  EXPECT_TRUE(mapped("libiomp").empty()) << testing::PrintToString(mapped("libiomp"));
}

/// at::parallel_for is a template: without the compiler's flag for OpenMP it is a plain loop, and every file of ours with it.
TEST(Libraries, LoopsRunOnAllThreads) {
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  std::mutex mutex;
  std::set<std::thread::id> ran;
  at::parallel_for(0, 2, 1, [&](int64_t, int64_t) {
    const std::lock_guard lock(mutex);
    ran.insert(std::this_thread::get_id());
  });
  at::set_num_threads(before);
  EXPECT_EQ(ran.size(), 2u);
}

TEST(Libraries, ThereIsOneLibTorch) {
  EXPECT_EQ(mapped("libtorch_cpu.so").size(), 1u);
  EXPECT_EQ(mapped("libc10.so").size(), 1u);
  EXPECT_EQ(mapped("libhdf5").size(), 1u);
}

}  // namespace
}  // namespace fmtrain
