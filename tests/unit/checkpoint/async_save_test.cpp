// Saves behind the caller's next steps: they hold the state of their own step, surface their failures, and do not pile up.
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "runtime/hash.h"
#include "tests/unit/checkpoint/checkpoint_folder.h"
#include "tests/unit/checkpoint/forwarding_files.h"

namespace fmtrain {
namespace {

/// Holds every save before it reads anything of the state, until it is opened.
class Gate final : public ForwardingFiles {
 public:
  int create_exclusive(const std::string& path, int* fd) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
    return ForwardingFiles::create_exclusive(path, fd);
  }
  void open_gate() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

class FullDisk final : public ForwardingFiles {
 public:
  int write(int, const void*, size_t) override { return ENOSPC; }
};

class AsyncSave : public Checkpoints {
 protected:
  /// Begins a save of `step` on 2 ranks, changes the live state while nothing is written yet, and lets the save end. With
  /// `by_reference` the live state is settled only then.
  void save_and_change(int64_t step, bool by_reference) const {
    Gate files;
    run_ranks(2, [&](Communicator& comm) {
      CheckpointStore store(dir(), files, comm, 3);
      const SavePlace place{dir(), files, comm, 3};
      Flat flat(static_cast<double>(step));
      at::Tensor memory;
      std::unique_ptr<CheckpointSave> raw;
      if (by_reference) raw = std::make_unique<CheckpointSave>(place, SaveRequest{step, flat.share(comm), kSmall, kFixed, -1}, true, memory);
      else store.begin_save(step, flat.share(comm), kSmall, kFixed, -1);
      store.settle();
      flat.values.add_(1);
      comm.barrier();
      files.open_gate();
      if (by_reference) raw->settle();
      if (by_reference) EXPECT_EQ(raw->advance(true), CheckpointSave::Outcome::kSaved);
      else EXPECT_EQ(store.advance_save(true, nullptr), true);
      EXPECT_FALSE(store.saving());
    });
  }
  double first_value() const {
    std::atomic<double> value{0};
    run_ranks(1, [&](Communicator& comm) {
      Flat flat;
      EXPECT_TRUE(CheckpointStore(dir(), posix_files(), comm, 3).load_newest(flat.whole(), kFixed));
      value = flat.values[0].item<double>();
    });
    return value;
  }
};

TEST_F(AsyncSave, HoldsTheStateOfItsStep) {
  for (int64_t step = 1; step <= 100; ++step) {
    save_and_change(step, false);
    ASSERT_EQ(load(1), step);
  }
}

TEST_F(AsyncSave, ASnapshotByReferenceIsFound) {
  save_and_change(3, true);
  EXPECT_NE(first_value(), Flat(3).values[0].item<double>());
}

TEST_F(AsyncSave, GoesOnBehindTheNextSteps) {
  Gate files;
  run_ranks(3, [&](Communicator& comm) {
    CheckpointStore store(dir(), files, comm, 3);
    Flat flat(5);
    store.begin_save(5, flat.share(comm), kSmall, kFixed, -1);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(store.advance_save(false, nullptr), std::nullopt);
    EXPECT_TRUE(store.saving());
    EXPECT_ANY_THROW(store.begin_save(6, flat.share(comm), kSmall, kFixed, -1));  // one in flight
    comm.barrier();
    EXPECT_EQ(store.steps(), std::vector<int64_t>{});  // not there before it is whole
    comm.barrier();
    files.open_gate();
    std::optional<bool> saved;
    while (!saved) saved = store.advance_save(false, nullptr);
    EXPECT_TRUE(*saved);
    EXPECT_EQ(store.advance_save(true, nullptr), std::nullopt);  // told once
  });
  EXPECT_EQ(load(2), 5);
}

TEST_F(AsyncSave, FailureOfOneRankIsEveryRanksAndLeavesTheOlderCheckpoint) {
  save(2, {1});
  FullDisk full;
  run_ranks(2, [&](Communicator& comm) {
    CheckpointStore store(dir(), comm.rank() == 1 ? static_cast<FileOps&>(full) : posix_files(), comm, 3);
    Flat flat(2);
    store.begin_save(2, flat.share(comm), kSmall, kFixed, -1);
    std::string why;
    EXPECT_EQ(store.advance_save(true, &why), false);
    EXPECT_THAT(why, HasSubstr("cannot write the checkpoint of step 2: No space left"));
  });
  EXPECT_EQ(load(2), 1);
  EXPECT_EQ(count(".tmp-"), 0u);
}

/// The threads of a save that is dropped are told, and waited for.
TEST_F(AsyncSave, OneThatIsDroppedEnds) {
  class Slow final : public ForwardingFiles {
   public:
    int write(int fd, const void* data, size_t bytes) override {
      ++writes;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      return ForwardingFiles::write(fd, data, bytes);
    }
    std::atomic<int> writes{0};
  };
  Slow files;
  StateDict state;
  state.pieces.push_back({"param/a", {32 << 20}, 0, at::zeros({32 << 20}, at::kFloat)});  // nine blocks
  run_ranks(1, [&](Communicator& comm) {
    CheckpointStore store(dir(), files, comm, 3);
    at::Tensor memory;
    const SavePlace place{dir(), files, comm, 3};
    CheckpointSave(place, SaveRequest{4, state, kSmall, kFixed, -1}, false, memory);
  });
  EXPECT_LT(files.writes, 9);
  EXPECT_EQ(load(1), -1);
}

/// Pieces of odd sizes over several blocks, each a counter of its own.
StateDict large_state() {
  StateDict state;
  for (const int64_t numel : {5, 7'000'001, 0, 3, 4'194'304, 1'000'003})
    state.pieces.push_back({"param/" + std::to_string(numel), {numel}, 0, at::arange(numel, at::kInt).add_(numel).to(at::kFloat)});
  return state;
}

/// What the thread that writes gets, for which `settle` is called when `after` has passed; then the state changes.
std::string bytes_of(const StateDict& state, bool whole, at::Tensor& memory, std::chrono::microseconds after = {}) {
  ShardImage image(state, whole, memory);
  std::string all;
  std::thread writer([&] {
    for (auto block = image.next(); !block.bytes.empty(); block = image.next()) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(block.bytes.data()) % 4096, 0u);
      EXPECT_EQ(block.hash, xxh3_hex(block.bytes.data(), block.bytes.size()));
      all += block.bytes;
      image.release();
    }
  });
  std::this_thread::sleep_for(after);
  image.settle();
  for (const auto& piece : state.pieces) piece.data.neg_();
  writer.join();
  for (const auto& piece : state.pieces) piece.data.neg_();
  EXPECT_EQ(static_cast<int64_t>(all.size()), image.bytes());
  return all;
}

/// What cannot begin does not wait for a thread that would take its blocks.
TEST_F(AsyncSave, ADirectoryThatCannotBeMadeFailsALargeSave) {
  class NoDirectories final : public ForwardingFiles {
   public:
    int make_dir(const std::string& path) override { return path.find(".tmp-") == std::string::npos ? ForwardingFiles::make_dir(path) : EACCES; }
  };
  NoDirectories files;
  run_ranks(1, [&](Communicator& comm) {
    CheckpointStore store(dir(), files, comm, 3);
    std::string why;
    EXPECT_FALSE(store.save(1, large_state(), kSmall, kFixed, -1, &why));
    EXPECT_THAT(why, HasSubstr("Permission denied"));
  });
}

/// The memory is taken once, for the file and no more, or for two blocks; the bytes are the same either way.
TEST(ShardImage, TwoBlocksOrTheWholeFileAndTheSameBytes) {
  const auto state = large_state();
  at::Tensor whole, two;
  const auto bytes = bytes_of(state, true, whole);
  EXPECT_EQ(bytes_of(state, false, two), bytes);
  EXPECT_EQ(static_cast<int64_t>(bytes.size()), shard_bytes(state));
  EXPECT_LT(whole.numel(), shard_bytes(state) + 4096);
  EXPECT_EQ(two.numel(), 2 * kCheckpointBlock);
  const void* memory = whole.data_ptr();
  for (const auto& piece : state.pieces) piece.data.add_(1);
  const auto later = bytes_of(state, true, whole);
  EXPECT_EQ(whole.data_ptr(), memory);
  EXPECT_NE(later, bytes);
  const auto* last = reinterpret_cast<const float*>(later.data() + later.size()) - 1;
  EXPECT_EQ(*last, state.pieces.back().data[-1].item<float>());
}

/// Whatever the reader had come to when it was settled, it is the state before the change.
TEST(ShardImage, SettledAtAnyTimeTheSameBytes) {
  const auto state = large_state();
  at::Tensor memory;
  const auto bytes = bytes_of(state, true, memory);
  std::mt19937 random(1);
  for (int round = 0; round < 40; ++round)
    ASSERT_TRUE(bytes_of(state, true, memory, std::chrono::microseconds(random() % 20'000)) == bytes) << "round " << round;
}

TEST(ShardImage, AReaderInTimeNeedsOnePlaceAndLeavesNothingToSettle) {
  const auto state = large_state();
  at::Tensor memory;
  ShardImage image(state, true, memory);
  int64_t blocks = 0;
  for (auto block = image.next(); !block.bytes.empty(); block = image.next(), ++blocks) {
    const auto at = block.bytes.data() - static_cast<const char*>(memory.data_ptr());
    EXPECT_EQ(at, block.bytes.size() == kCheckpointBlock ? 0 : memory.numel() / kCheckpointBlock * kCheckpointBlock);
    image.release();
  }
  EXPECT_EQ(blocks, (image.bytes() + kCheckpointBlock - 1) / kCheckpointBlock);
  image.settle();
}

TEST(ShardImage, OneSideThatGivesUpFreesTheOther) {
  at::Tensor memory;
  ShardImage image(large_state(), false, memory);
  std::thread reader([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // both places are taken then
    EXPECT_FALSE(image.next().bytes.empty());
    image.give_up();
  });
  image.settle();  // more blocks than there is room for
  reader.join();
  EXPECT_TRUE(image.next().bytes.empty());
  EXPECT_TRUE(image.failed());
}

}  // namespace
}  // namespace fmtrain
