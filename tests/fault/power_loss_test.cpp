// Power losses and kills at every change that saves make to a disk (docs/checkpoint-format.md): the last acknowledged checkpoint
// is there afterwards, nothing damaged verifies or is visible, and the disk holds no more than it may.
#include <gtest/gtest.h>

#include <cstdio>
#include <mutex>
#include <random>
#include <set>

#include "tests/fault/small_run.h"
#include "tests/unit/checkpoint/forwarding_files.h"

namespace fmtrain {
namespace {


std::unique_ptr<FileOps> sound(FileOps& files) { return std::make_unique<ForwardingFiles>(files); }

/// Calls `use` with which of `n` pending changes arrived: all subsets of up to 7; of up to 16 those in which at most 3 arrived or
/// at most 3 were lost; and 200 random ones of whatever density.
void subsets(size_t n, std::mt19937& random, const std::function<void(const std::vector<bool>&)>& use) {
  std::vector<bool> arrived(n);
  for (uint32_t bits = 0; n <= 16 && bits < 1u << n; ++bits) {
    const auto count = static_cast<size_t>(__builtin_popcount(bits));
    if (n > 7 && count > 3 && count + 3 < n) continue;
    for (size_t i = 0; i < n; ++i) arrived[i] = bits >> i & 1;
    use(arrived);
  }
  for (int64_t i = 0; n > 7 && i < 200 * fault_scale(); ++i) {
    std::bernoulli_distribution arrives(std::uniform_real_distribution(0.0, 1.0)(random));
    for (size_t k = 0; k < n; ++k) arrived[k] = arrives(random);
    use(arrived);
  }
}

struct Sequence {
  Sequence(std::string of, std::vector<int64_t> steps, int64_t keep, Disk on) : name(std::move(of)), disk(std::move(on)) {
    plan.steps = std::move(steps);
    plan.keep = keep;
  }
  std::string name;
  Plan plan;
  Disk disk;
  int64_t acknowledged = -1;  ///< before the first of the saves
  int64_t damaged = -1;       ///< a step that is torn from the beginning
};

struct Figures {
  size_t points = 0, different = 0;
  int64_t states = 0, lost = 0, wrong = 0, torn = 0;
  int64_t violations() const { return lost + wrong + torn; }
};

/// Every state of the disk after a power loss at every change.
Figures lose_power(const Sequence& sequence, const Wrap& wrap) {
  PowerLoss disk(sequence.disk);
  const auto files = wrap(disk);
  const auto saved = save_all(*files, kDir, sequence.plan, &disk);
  EXPECT_EQ(disk.open_files(), 0);
  Figures figures;
  Examiner examiner;
  std::mt19937 random(1);
  for (size_t point = 0; point <= disk.changes(); ++point, ++figures.points) {
    int64_t acknowledged = sequence.acknowledged;
    for (const auto& save : saved)
      if (save.ok && save.changes <= point) acknowledged = save.step;
    const auto crash = disk.crash_after(point);
    subsets(crash.pending.size(), random, [&](const auto& arrived) {
      const auto& found = examiner.examine(crash.state(arrived));
      ++figures.states;
      figures.lost += found.newest < acknowledged;
      figures.wrong += found.wrong;
      for (const auto step : found.torn) figures.torn += step != sequence.damaged;
    });
  }
  figures.different = examiner.different_disks();
  return figures;
}

Sequence three_saves() { return {"3 saves, 1 kept", {10, 20, 30}, 1, empty_disk()}; }

/// A checkpoint of step 10, and one of step 20 with a flipped bit.
Sequence with_a_damaged_one() {
  PowerLoss files(empty_disk());
  save_all(files, kDir, {{10, 20}, 5});
  Disk disk = files.killed_after(files.changes());
  disk.nodes[disk.find(kDir + "/step-20/shard-00001-of-00002.safetensors")].data[4000] ^= 1;
  Sequence sequence("3 saves, 2 kept, the first in place of a damaged one", {20, 30, 40}, 2, disk);
  sequence.acknowledged = 10;
  sequence.damaged = 20;
  return sequence;
}

/// Two starts: the second finds what the first left when it was killed while it wrote its third checkpoint.
Sequence after_a_kill() {
  PowerLoss files(empty_disk());
  const auto saved = save_all(files, kDir, {{10, 20, 30}, 2}, &files);
  Sequence sequence("3 saves, 2 kept, after a kill", {30, 40, 50}, 2, files.killed_after(saved[1].changes + 6));
  sequence.acknowledged = 20;
  return sequence;
}

/// The rig itself: what is pending, and what the states show.
TEST(PowerLoss, WhatWasNotSyncedMayBeMissing) {
  PowerLoss disk;
  int fd = -1;
  disk.create_exclusive("/a", &fd);
  const std::string text(5000, 'x');
  disk.write(fd, text.data(), text.size());
  const auto open = disk.crash_after(disk.changes());
  ASSERT_EQ(open.pending.size(), 3u) << "a name and two pages";
  EXPECT_EQ(open.state({false, true, true}).find("/a"), -1);
  const auto torn = open.state({true, false, true});
  EXPECT_EQ(torn.nodes.at(torn.find("/a")).data, std::string(4096, '\0') + std::string(904, 'x'));
  disk.fsync(fd);
  disk.close(fd);
  EXPECT_EQ(disk.crash_after(disk.changes()).pending.size(), 1u) << "the name";
  disk.sync_dir("/");
  disk.rename("/a", "/b");
  const auto moved = disk.crash_after(disk.changes());
  ASSERT_EQ(moved.pending.size(), 1u);
  for (const bool arrived : {false, true}) {
    const auto state = moved.state({arrived});
    EXPECT_EQ(state.find("/a") >= 0, !arrived);
    EXPECT_EQ(state.find("/b") >= 0, arrived);
    EXPECT_EQ(state.bytes(), 5000);
  }
}

TEST(PowerLoss, ACheckpointUnderAnotherNameIsNotWhatWasSaved) {
  PowerLoss files(empty_disk());
  save_all(files, kDir, {{10}, 1});
  Examiner examiner;
  EXPECT_FALSE(examiner.examine(files.killed_after(files.changes())).wrong);
  files.rename(kDir + "/step-10", kDir + "/step-20");
  testing::internal::CaptureStderr();
  EXPECT_TRUE(examiner.examine(files.killed_after(files.changes())).wrong);
  testing::internal::GetCapturedStderr();
}

TEST(PowerLoss, NoStateWithoutTheLastAcknowledgedCheckpoint) {
  testing::internal::CaptureStderr();
  std::string report;
  for (const auto& sequence : {three_saves(), with_a_damaged_one(), after_a_kill()}) {
    const auto f = lose_power(sequence, sound);
    EXPECT_GE(f.points, 40u);
    EXPECT_EQ(f.lost, 0) << sequence.name;
    EXPECT_EQ(f.wrong, 0) << sequence.name;
    EXPECT_EQ(f.torn, 0) << sequence.name;
    report += "R3: " + sequence.name + ": " + std::to_string(f.points) + " crash points, " + std::to_string(f.states) +
              " states (" + std::to_string(f.different) + " different), " + std::to_string(f.lost) + " lost, " +
              std::to_string(f.wrong) + " damaged ones verified, " + std::to_string(f.torn) + " torn ones visible\n";
  }
  testing::internal::GetCapturedStderr();
  std::fputs(report.c_str(), stdout);
}

class PowerLossOf : public testing::TestWithParam<Broken> {};

TEST_P(PowerLossOf, ABrokenWriterIsCaught) {
  testing::internal::CaptureStderr();
  const auto f = lose_power({"", {10, 20}, 1, empty_disk()}, broken(GetParam()));
  testing::internal::GetCapturedStderr();
  EXPECT_GT(f.violations(), 0);
  std::printf("R3: broken writer %s: %ld of %ld states lost, %ld torn\n", name_of(GetParam()).c_str(), f.lost, f.states,
              f.torn);
}

std::string test_name(const testing::TestParamInfo<Broken>& info) { return name_of(info.param); }

INSTANTIATE_TEST_SUITE_P(Writers, PowerLossOf,
                         testing::Values(Broken::kNoFileSync, Broken::kNoDirectorySync, Broken::kWritesInPlace,
                                         Broken::kManifestFirst),
                         test_name);

/// A directory sync that failed leaves the name of step-20 pending. Saved again, it counts as acknowledged.
TEST(PowerLoss, AKeptCheckpointIsAsSafeAsAWrittenOne) {
  class FailsOnce final : public ForwardingFiles {
   public:
    using ForwardingFiles::ForwardingFiles;
    int sync_dir(const std::string& path) override {
      return path == kDir && ++calls_ == 1 ? EIO : ForwardingFiles::sync_dir(path);
    }

   private:
    int calls_ = 0;
  };
  const auto f = lose_power({"", {20, 20}, 2, empty_disk()}, [](FileOps& files) { return std::make_unique<FailsOnce>(files); });
  EXPECT_EQ(f.lost, 0);
}

/// The first start makes RUN/checkpoints: its name is not safe before RUN was synced.
TEST(PowerLoss, TheNameOfTheFolderIsSafeToo) {
  const auto f = lose_power({"", {10, 20}, 2, Disk()}, sound);
  EXPECT_EQ(f.lost, 0);
}

// ---- kills while checkpoints are deleted ----------------------------------------------------------------------------------

/// Flips a bit of every shard of one step on its way to the disk.
class BadDisk final : public ForwardingFiles {
 public:
  BadDisk(FileOps& files, int64_t step) : ForwardingFiles(files), name_("/.tmp-" + std::to_string(step) + "-") {}
  int create_exclusive(const std::string& path, int* fd) override {
    const int error = ForwardingFiles::create_exclusive(path, fd);
    const std::lock_guard lock(mutex_);
    if (path.find(name_) != std::string::npos && path.find("/shard-") != std::string::npos) bad_.insert(*fd);
    return error;
  }
  int write(int fd, const void* data, size_t bytes) override {
    std::string copy(static_cast<const char*>(data), bytes);
    {
      const std::lock_guard lock(mutex_);
      if (bad_.count(fd)) copy[bytes / 2] ^= 1;
    }
    return ForwardingFiles::write(fd, copy.data(), bytes);
  }

 private:
  std::string name_;
  std::mutex mutex_;
  std::set<int> bad_;
};

int64_t checkpoint_bytes() {
  PowerLoss files(empty_disk());
  save_all(files, kDir, {{10}, 1});
  return files.killed_after(files.changes()).bytes();
}

struct Kills {
  size_t points = 0;
  int64_t none = 0, lost = 0, wrong = 0, torn = 0, leftovers = 0;
  double most = 0;  ///< bytes on the disk, in checkpoints
};

/// A kill at every change of six saves that keep `keep`; with a disk that damages step 40 silently, if asked for.
Kills kill_everywhere(int64_t keep, bool bad_disk, const Wrap& wrap) {
  PowerLoss disk(empty_disk());
  BadDisk bad(disk, bad_disk ? 40 : -1);
  const auto files = wrap(bad);
  const auto saved = save_all(*files, kDir, {{10, 20, 30, 40, 50, 60}, keep}, &disk);
  EXPECT_EQ(saved[3].ok, !bad_disk);
  const auto one = static_cast<double>(checkpoint_bytes());
  Kills kills;
  Examiner examiner;
  for (size_t point = 0; point <= disk.changes(); ++point, ++kills.points) {
    int64_t acknowledged = -1;
    for (const auto& save : saved)
      if (save.ok && save.changes <= point) acknowledged = save.step;
    const auto now = disk.killed_after(point);
    const auto& found = examiner.examine(now);
    kills.none += found.verified == 0 && acknowledged >= 0;
    kills.lost += found.newest < acknowledged;
    kills.wrong += found.wrong;
    for (const auto step : found.torn) kills.torn += !bad_disk || step != 40;
    kills.leftovers += found.leftovers;
    kills.most = std::max(kills.most, static_cast<double>(now.bytes()) / one);
  }
  return kills;
}

TEST(Kill, AtEveryChangeOneIsLeftAndTheDiskHoldsOneMoreThanAreKept) {
  size_t points = 0;
  testing::internal::CaptureStderr();
  std::string report;
  for (const int64_t keep : {1, 3})
    for (const bool bad_disk : {false, true}) {
      const auto k = kill_everywhere(keep, bad_disk, sound);
      EXPECT_EQ(k.none, 0);
      EXPECT_EQ(k.lost, 0);
      EXPECT_EQ(k.wrong, 0);
      EXPECT_EQ(k.torn, 0);
      EXPECT_EQ(k.leftovers, 0);
      EXPECT_LE(k.most, static_cast<double>(keep + 1 + bad_disk)) << "one more is there that failed its check";
      points += k.points;
      char line[200];
      std::snprintf(line, sizeof line,
                    "R18: keep %ld%s: %zu kills, %ld without a verified one, at most %.2f checkpoints on the disk\n", keep,
                    bad_disk ? ", a disk that damages one" : "", k.points, k.none, k.most);
      report += line;
    }
  testing::internal::GetCapturedStderr();
  EXPECT_GE(points, 100u);
  std::fputs(report.c_str(), stdout);
}

class KillOf : public testing::TestWithParam<Broken> {};

TEST_P(KillOf, ABrokenWriterIsCaught) {
  testing::internal::CaptureStderr();
  const auto k = kill_everywhere(1, GetParam() == Broken::kDeletesEarly, broken(GetParam()));
  testing::internal::GetCapturedStderr();
  EXPECT_GT(k.none + k.lost + k.wrong + k.torn + k.leftovers + (k.most > 2), 0);
  std::printf("R18: broken writer %s: %ld without a verified one, %ld lost, %ld torn, %.2f checkpoints on the disk\n",
              name_of(GetParam()).c_str(), k.none, k.lost, k.torn, k.most);
}

INSTANTIATE_TEST_SUITE_P(Writers, KillOf,
                         testing::Values(Broken::kDeletesEarly, Broken::kDeletesInPlace, Broken::kNeverDeletes,
                                         Broken::kWritesInPlace, Broken::kManifestFirst),
                         test_name);

/// Starts of a run on one disk, each killed at a random change of its two saves.
Kills lives(int64_t count) {
  std::mt19937 random(2);
  Kills kills;
  Examiner examiner;
  Disk disk = empty_disk();
  const auto one = static_cast<double>(checkpoint_bytes());
  int64_t acknowledged = -1;
  for (int64_t life = 0; life < count; ++life, ++kills.points) {
    PowerLoss files(disk);
    const int64_t from = examiner.examine(disk).newest;
    const auto saved = save_all(files, kDir, {{from + 1, from + 2}, 2, Plan().elements, true}, &files);
    const size_t point = std::uniform_int_distribution<size_t>(0, files.changes())(random);
    for (const auto& save : saved)
      if (save.ok && save.changes <= point) acknowledged = save.step;
    disk = files.killed_after(point);
    const auto& found = examiner.examine(disk);
    kills.none += found.verified == 0 && acknowledged >= 0;
    kills.lost += found.newest < acknowledged;
    kills.torn += static_cast<int64_t>(found.torn.size());
    kills.most = std::max(kills.most, static_cast<double>(disk.bytes()) / one);
  }
  return kills;
}

TEST(Kill, OneStartAfterTheOther) {
  const auto k = lives(100 * fault_scale());
  EXPECT_EQ(k.none + k.lost + k.torn, 0);
  std::printf("R18: %zu starts killed one after the other: %ld without a verified one, %ld lost, %ld torn\n", k.points, k.none,
              k.lost, k.torn);
}

/// A start that was killed after a rename and before the deletion leaves one too many; the next start deletes it.
TEST(Kill, OneStartAfterTheOtherDoesNotFillTheDisk) { EXPECT_LE(lives(100 * fault_scale()).most, 3.01); }

}  // namespace
}  // namespace fmtrain
