#include "runtime/report/memory.h"

#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

using MemoryTest = TemporaryFolder;

TEST_F(MemoryTest, ReadsBytes) {
  write("smaps_rollup", "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:            2048 kB\nPss:            1000 kB\nPss_Anon: 7 kB\n");
  write("status", "Name:\tfmtrain\nVmHWM:\t    4096 kB\nVmRSS:\t    2000 kB\n");
  const MemoryUse use = memory_use(folder_.string());
  EXPECT_EQ(use.rss, 2048 * 1024);
  EXPECT_EQ(use.pss, 1000 * 1024);
  EXPECT_EQ(use.peak_rss, 4096 * 1024);
}

TEST_F(MemoryTest, OldKernelsHaveNoRollup) {
  write("status", "VmHWM:\t    4096 kB\nVmRSS:\t    2000 kB\n");
  const MemoryUse use = memory_use(folder_.string());
  EXPECT_EQ(use.rss, 2000 * 1024);
  EXPECT_EQ(use.pss, -1);
}

TEST_F(MemoryTest, NonsenseIsUnknown) {
  for (const char* text : {"", "Rss:\n", "Rss: none\n", "Rss: 99999999999999999999 kB\n", "Rss: 9223372036854775807 kB\n"}) {
    write("smaps_rollup", text);
    EXPECT_EQ(memory_use(folder_.string()).rss, -1) << text;
  }
}

TEST(MemoryUse, SeesPagesOfThisProcess) {
  const MemoryUse before = memory_use();
  ASSERT_GT(before.rss, 0);
  constexpr size_t kBytes = size_t{64} << 20;
  std::string block(kBytes, 'x');
  const MemoryUse after = memory_use();
  EXPECT_GE(after.rss, before.rss + static_cast<int64_t>(kBytes * 9 / 10)) << block[7];
  EXPECT_GE(after.peak_rss, after.rss - (int64_t{1} << 20));
  EXPECT_LE(after.pss, after.rss);
}

/// A machine of 8 GiB; `groups`: text of /proc/self/cgroup.
class MemoryLimitTest : public TemporaryFolder {
 protected:
  void put(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    write(name, text);
  }
  MemoryLimit of(const std::string& groups) const {
    put("proc/meminfo", "MemFree: 5 kB\nMemTotal:        8388608 kB\n");
    put("proc/self/cgroup", groups);
    return memory_limit((folder_ / "proc").string(), (folder_ / "groups").string());
  }
  static constexpr int64_t kHost = int64_t{8} << 30;
};

TEST_F(MemoryLimitTest, IsTheHostsWithoutAGroupsLimit) {
  for (const char* groups : {"", "0::/\n", "0::/a/b\n", "nonsense\n", "0::../../a\n", "9:cpu,cpuacct:/a\n"}) {
    put("groups/a/memory.max", "max\n");
    EXPECT_EQ(of(groups).bytes, kHost) << groups;
    EXPECT_EQ(of(groups).source, "host");
  }
}

TEST_F(MemoryLimitTest, IsTheSmallestOfTheGroupsAbove) {
  put("groups/a/b/memory.max", "3000000000\n");
  put("groups/a/memory.max", "2000000000\n");
  put("groups/memory/x/memory.limit_in_bytes", "1000000000\n");
  put("groups/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(of("0::/a/b\n").bytes, 2'000'000'000);
  EXPECT_EQ(of("0::/a/b\n").source, "cgroup");
  EXPECT_EQ(of("5:cpu,memory:/x/not/seen/here\n0::/a/b\n").bytes, 1'000'000'000);
  EXPECT_EQ(of("5:memory:/\n").bytes, kHost);
}

TEST_F(MemoryLimitTest, NothingKnownIsZero) {
  EXPECT_EQ(memory_limit((folder_ / "no").string(), (folder_ / "no").string()).bytes, 0);
}

}  // namespace
}  // namespace fmtrain
