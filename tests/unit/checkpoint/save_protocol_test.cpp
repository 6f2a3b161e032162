// Room before a save, reading back before a deletion, and the memory of a save.
#include <cerrno>
#include <fstream>
#include <thread>

#include "runtime/checkpoint/shard.h"
#include "tests/unit/checkpoint/checkpoint_folder.h"
#include "tests/unit/checkpoint/forwarding_files.h"

namespace fmtrain {
namespace {

/// A disk with `free` bytes left; counts the calls that change something.
class SmallDisk final : public ForwardingFiles {
 public:
  explicit SmallDisk(int64_t free) : free_(free) {}
  int space(const std::string&, int64_t* free_bytes) override {
    *free_bytes = free_;
    return 0;
  }
  int make_dir(const std::string& path) override {
    ++changes;
    return ForwardingFiles::make_dir(path);
  }
  int create_exclusive(const std::string& path, int* fd) override {
    ++changes;
    return ForwardingFiles::create_exclusive(path, fd);
  }
  int unlink(const std::string& path) override {
    ++changes;
    return ForwardingFiles::unlink(path);
  }
  int changes = 0;

 private:
  int64_t free_;
};

/// Loses a bit of every shard of step-N when it gets its name.
class BadDisk final : public ForwardingFiles {
 public:
  explicit BadDisk(int64_t step) : name_("/step-" + std::to_string(step)) {}
  int rename(const std::string& from, const std::string& to) override {
    const int error = ForwardingFiles::rename(from, to);
    if (!error && to.ends_with(name_)) {
      std::fstream shard(to + "/" + shard_name(0, 2), std::ios::in | std::ios::out | std::ios::binary);
      shard.seekp(9);
      shard.put('~');
    }
    return error;
  }

 private:
  std::string name_;
};

/// Swallows what is written, and remembers the largest write.
class NoDisk final : public ForwardingFiles {
 public:
  int create_exclusive(const std::string&, int* fd) override { return *fd = -1, 0; }
  int write(int, const void*, size_t bytes) override { return largest = std::max(largest, bytes), total += bytes, 0; }
  int fsync(int) override { return 0; }
  int close(int) override { return 0; }
  size_t largest = 0, total = 0;
};

int64_t bytes_of(const Json& manifest) {
  int64_t sum = 0;
  for (const auto& file : manifest.at("files")) sum += file.at("bytes").get<int64_t>();
  return sum;
}

TEST_F(Checkpoints, ASaveThatDoesNotFitTouchesNothing) {
  save(2, {10});
  const int64_t bytes = bytes_of(read_manifest(posix_files(), dir() + "/step-10"));
  const int64_t needed = (bytes * 11 + 9) / 10;
  for (const bool fits : {false, true}) {
    std::atomic<int> saved{0}, changes{0};
    run_ranks(2, [&](Communicator& comm) {
      SmallDisk files(needed - (fits ? 0 : 1));
      CheckpointStore store(dir(), files, comm, 1);
      files.changes = 0;
      std::string why;
      Flat flat(20);
      saved += store.save(20, flat.share(comm), kSmall, kFixed, -1, &why);
      changes += files.changes;
      EXPECT_EQ(why, fits ? ""
                          : dir() + ": no checkpoint of step 20: it needs " + std::to_string(needed) + " bytes, " +
                                std::to_string(needed - 1) + " are free");
    });
    EXPECT_EQ(saved, fits ? 2 : 0);
    EXPECT_EQ(changes > 0, fits);
    EXPECT_EQ(load(2), fits ? 20 : 10);
  }
}

/// A run that lost its directory, and did not know it yet, wrote step 30: the new owner's older step 20 counts, and is never deleted
/// in its favour.
TEST_F(Checkpoints, WhatAFencedRunWroteIsSetAside) {
  save(2, {10, 20, 30});
  forge(20, [](Json& json) { json["generation"] = 2; });
  forge(30, [](Json& json) { json["generation"] = 1; });
  testing::internal::CaptureStderr();
  run_ranks(2, [&](Communicator& comm) {
    CheckpointStore store(dir(), posix_files(), comm, 1);
    Flat flat;
    ASSERT_TRUE(store.load_newest(flat.whole(), kFixed));
    EXPECT_TRUE(at::equal(flat.values, Flat(20).values));
    store.prune(-1);
  });
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("step-30: ignored: a run wrote it after another one had taken over"));
  EXPECT_EQ(count("step-"), 1u);
  EXPECT_EQ(count(".bad-step-30-"), 1u);
  EXPECT_EQ(load(1), 20);
}

/// A quota is not seen in the free space.
TEST_F(Checkpoints, AQuotaThatIsTooSmallIsFoundBeforeTheFirstStep) {
  class Quota final : public ForwardingFiles {
   public:
    int reserve(int fd, int64_t bytes) override { return reserved = bytes, error ? error : ForwardingFiles::reserve(fd, bytes); }
    int error = 0;
    int64_t reserved = 0;
  };
  for (const int error : {0, EDQUOT, EOPNOTSUPP}) {
    run_ranks(2, [&](Communicator& comm) {
      Quota files;
      files.error = comm.rank() == 1 ? error : 0;
      CheckpointStore store(dir(), files, comm, 1);
      Flat flat(1);
      const auto state = flat.share(comm);
      if (error == EDQUOT) EXPECT_THAT([&] { store.must_fit(state); }, testing::ThrowsMessage<StorageError>(HasSubstr("Disk quota exceeded")));
      else EXPECT_NO_THROW(store.must_fit(state));
      EXPECT_EQ(files.reserved, shard_bytes(state));
    });
    EXPECT_THAT(names(), testing::IsEmpty());
  }
}

TEST_F(Checkpoints, OlderOnesStayUntilTheNewOneWasReadBack) {
  save(2, {10});
  testing::internal::CaptureStderr();
  run_ranks(2, [&](Communicator& comm) {
    BadDisk files(20);
    CheckpointStore store(dir(), files, comm, 1);
    std::string why;
    EXPECT_FALSE(store.save(20, Flat(20).share(comm), kSmall, kFixed, -1, &why));
    EXPECT_THAT(why, HasSubstr("cannot read back the checkpoint of step 20"));
  });
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr(shard_name(0, 2) + ": is damaged"));
  EXPECT_THAT(names(), testing::ElementsAre("latest", "step-10", "step-20"));
  EXPECT_EQ(content("checkpoints/latest"), "step-10\n");
  run_ranks(2, [&](Communicator& comm) {  // the next save is sound
    CheckpointStore store(dir(), posix_files(), comm, 1);
    EXPECT_TRUE(store.save(30, Flat(30).share(comm), kSmall, kFixed, -1, nullptr));
  });
  EXPECT_THAT(names(), testing::ElementsAre("latest", "step-30"));
}

/// With a larger number left by another run the one just saved is not among the newest.
TEST_F(Checkpoints, TheOneJustSavedIsNeverDeleted) {
  save(1, {90, 5}, 1);
  EXPECT_THAT(names(), testing::ElementsAre("latest", "step-5", "step-90"));
}

TEST_F(Checkpoints, ADeletionThatWasCutOffIsNotInTheWay) {
  save(1, {1, 2});
  run_ranks(1, [&](Communicator& comm) {
    CheckpointStore store(dir(), posix_files(), comm, 1);
    fs::create_directories(dir() + "/.del-1/x");
    EXPECT_TRUE(store.save(3, Flat(3).share(comm), kSmall, kFixed, -1, nullptr));
  });
  EXPECT_THAT(names(), testing::ElementsAre("latest", "step-3"));
}

int64_t peak_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmHWM:") {
      int64_t kib = 0;
      status >> kib;
      return kib;
    }
  return -1;
}

TEST(Shard, TakesTwoBlocksOfMemoryWhateverItsSize) {
  const auto values = at::ones({40 << 20}, at::kFloat);  // 160 MiB
  StateDict state;
  state.pieces.push_back({"param/a", {40 << 20}, 0, values});
  NoDisk files;
  std::vector<int64_t> facts;
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak starts here
  const int64_t before = peak_kib();
  at::Tensor memory;
  ShardImage image(state, false, memory);
  std::thread writer([&] { EXPECT_EQ(write_shard(files, "shard", image, facts), 0); });
  image.settle();
  writer.join();
  EXPECT_LE(peak_kib() - before, 40 << 10);
  EXPECT_EQ(files.largest, static_cast<size_t>(kCheckpointBlock));
  EXPECT_EQ(static_cast<int64_t>(files.total), shard_bytes(state));
  EXPECT_EQ(facts[0], shard_bytes(state));
  EXPECT_EQ(facts.size(), 1u + 2 * 11);
}

}  // namespace
}  // namespace fmtrain
