// The bytes of a shard: those of every earlier version, in parts of one block.
#include <malloc.h>
#include <unistd.h>

#include <barrier>
#include <fstream>
#include <thread>

#include "runtime/checkpoint/manifest.h"
#include "runtime/hash.h"
#include "tests/unit/checkpoint/checkpoint_folder.h"

namespace fmtrain {
namespace {

/// 20 MiB and some: two blocks. Two parts of one tensor, as a rank with several buckets has them, around an empty one.
StateDict two_blocks() {
  const auto values = at::arange(5'300'003, at::kInt).remainder(1009).to(at::kFloat);
  StateDict dict;
  dict.pieces.push_back({"param/big", {10, 530'001}, 7, values.slice(0, 0, 3'000'000)});
  dict.pieces.push_back({"param/none", {0, 3}, 0, values.slice(0, 0, 0)});
  dict.pieces.push_back({"param/big", {10, 530'001}, 3'000'007, values.slice(0, 3'000'000)});
  return dict;
}

struct GoldenFile {
  int ranks;
  bool large;
  std::string name, sha256;
};

TEST_F(Checkpoints, BytesAreThoseOfFormat1) {
  const std::vector<GoldenFile> golden{
      {1, false, shard_name(0, 1), "326755f66369344b40404ad73503b226372aa5ac6b885e8bad37a637aaeb7347"},
      {1, false, "manifest.json", "27e16e5daf5f0669caf8035ac9fefcac88cee45563fc680c8476477529f8f3d0"},
      {3, false, shard_name(0, 3), "0e2a019043f3b7b7b7a89b8691043bbdce4ba9ea5a18ece9bb1134a9f5509fd1"},
      {3, false, shard_name(1, 3), "0e98655bb3870d671fd7aa7d18fd8887ae87c47d4c1d503ea94d5495c221279e"},
      {3, false, shard_name(2, 3), "37f46a1da58f787e6f9a042702dfc683e330c980d31459c77c72d0b278a09dd1"},
      {3, false, "manifest.json", "671fcbe1d0978526e90db88ad5bdc1fd8c9fb9e71f6366f1d417d43cd89d19cb"},
      {1, true, shard_name(0, 1), "4161eaa6b7e4cbdb0be6c01b1f828971cc1cff2fe6734601da972ccc386df38e"},
      {1, true, "manifest.json", "5207f851c8ae7848c1111e6d74224de3c6543de342cf2559ef1d6a74135a00e4"},
  };
  for (const auto& file : golden) {
    remove_tree(posix_files(), dir());
    if (!file.large) save(file.ranks, {20});
    if (file.large)
      run_ranks(1, [&](Communicator& comm) {
        CheckpointStore store(dir(), posix_files(), comm, 3);
        EXPECT_TRUE(store.save(20, two_blocks(), kSmall, kFixed, -1, nullptr));
      });
    EXPECT_EQ(sha256_file(dir() + "/step-20/" + file.name), file.sha256) << file.ranks << " " << file.name;
  }
}

/// From the third block on a file is read ahead: past the page cache by a rank alone, through it by four that all want it.
TEST_F(Checkpoints, BlocksThatAreReadAheadComeInOrderAndAreChecked) {
  const auto values = at::arange(14'000'003, at::kInt).remainder(1'000'003).to(at::kFloat);  // four blocks
  const auto state = [&](const at::Tensor& data) {
    StateDict dict;
    dict.pieces.push_back({"param/big", {14'000'003}, 0, data});
    return dict;
  };
  run_ranks(1, [&](Communicator& comm) {
    CheckpointStore store(dir(), posix_files(), comm, 3);
    ASSERT_TRUE(store.save(20, state(values), kSmall, kFixed, -1, nullptr));
  });
  for (const int ranks : {1, 4})
    run_ranks(ranks, [&](Communicator& comm) {
      CheckpointStore store(dir(), posix_files(), comm, 3);
      const auto found = at::full_like(values, -1);
      EXPECT_TRUE(store.load_newest(state(found), kFixed).has_value());
      EXPECT_TRUE(at::equal(found, values)) << ranks;
    });
  auto bytes = content(shard(20, 0, 1));
  bytes[40 << 20] = static_cast<char>(bytes[40 << 20] ^ 1);
  write(shard(20, 0, 1), bytes);
  testing::internal::CaptureStderr();
  run_ranks(1, [&](Communicator& comm) {
    CheckpointStore store(dir(), posix_files(), comm, 3);
    EXPECT_THROW(store.load_newest(state(at::empty_like(values)), kFixed), CheckpointError);
  });
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("is damaged between bytes 33554432 and 50331648"));
}

int64_t resident_bytes() {
  int64_t all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

/// Every thread has a heap, which keeps what it has once had: each thread that had read a save back left 2 to 32 MiB there.
TEST_F(Checkpoints, ReadingLeavesNoMemoryInTheHeapsOfThreads) {
  constexpr int kThreads = 8;
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);  // as in launch/main.cpp
  ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
  run_ranks(1, [&](Communicator& comm) {
    CheckpointStore store(dir(), posix_files(), comm, 3);
    ASSERT_TRUE(store.save(20, two_blocks(), kSmall, kFixed, -1, nullptr));
  });
  const auto entry = read_manifest(posix_files(), dir() + "/step-20").at("files")[0];
  std::barrier together(kThreads);  // so that no two use one heap
  const auto read = [&](int fd) {
    read_blocks(posix_files(), fd, entry, From::kCache, [&](std::string_view, int64_t) {
      together.arrive_and_wait();
      return true;
    });
  };
  const auto before = resident_bytes();
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back([&] { with_file(posix_files(), dir() + "/step-20", entry, read); });
  threads.clear();
  EXPECT_LT(resident_bytes() - before, 16 << 20);
}

/// Pieces that begin in one block and end in the next, read by a target that wants a part from within.
TEST_F(Checkpoints, AcrossBlocksEveryElementIsRead) {
  run_ranks(1, [&](Communicator& comm) {
    CheckpointStore store(dir(), posix_files(), comm, 3);
    ASSERT_TRUE(store.save(20, two_blocks(), kSmall, kFixed, -1, nullptr));
    const auto saved = two_blocks();
    for (const auto& [from, to] : {std::pair<int64_t, int64_t>{7, 5'300'010}, {4'194'000, 4'195'000}, {2'999'000, 5'000'000}}) {
      StateDict wanted;
      wanted.pieces.push_back({"param/big", {10, 530'001}, from, at::full({to - from}, -1, at::kFloat)});
      ASSERT_TRUE(store.load_newest(wanted, kFixed).has_value());
      const auto all = at::cat({saved.pieces[0].data, saved.pieces[2].data});
      EXPECT_TRUE(at::equal(wanted.pieces[0].data, all.slice(0, from - 7, to - 7))) << from;
    }
  });
}

}  // namespace
}  // namespace fmtrain
