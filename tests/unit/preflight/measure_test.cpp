// The pre-flight's measuring and its storage probe, with ranks as threads, an invented network and invented clocks.
#include "runtime/preflight/measure.h"

#include <gmock/gmock.h>

#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "comm/thread_communicator.h"
#include "runtime/preflight/storage.h"
#include "tests/support/fail_files.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

/// Messages of threads; rank `slow` has a link that is slower than the others'.
class Network {
 public:
  void send(int from, int to, const void* data, int64_t bytes) {
    if (bytes > 1000 && (from == slow || to == slow)) std::this_thread::sleep_for(std::chrono::milliseconds(60));
    const std::lock_guard lock(mutex_);
    messages_[{from, to}].emplace_back(static_cast<const char*>(data), static_cast<size_t>(bytes));
    came_.notify_all();
  }
  void receive(int from, int to, void* data, int64_t bytes) {
    std::unique_lock lock(mutex_);
    auto& waiting = messages_[{from, to}];
    came_.wait(lock, [&] { return !waiting.empty(); });
    ASSERT_EQ(std::ssize(waiting.front()), bytes);
    std::memcpy(data, waiting.front().data(), static_cast<size_t>(bytes));
    waiting.erase(waiting.begin());
  }
  int slow = -1;

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::map<std::pair<int, int>, std::vector<std::string>> messages_;
};

class ThreadChannel final : public PairChannel {
 public:
  ThreadChannel(Network& network, int rank) : network_(network), rank_(rank) {}
  void send(const void* data, int64_t bytes, int to) override { network_.send(rank_, to, data, bytes); }
  void receive(void* data, int64_t bytes, int from) override { network_.receive(from, rank_, data, bytes); }

 private:
  Network& network_;
  int rank_;
};

TEST(MeasurePairs, FindsTheSlowHostAndTheWrongClock) {
  Network network;
  network.slow = 2;
  run_ranks(5, [&](Communicator& comm) {
    ThreadChannel channel(network, comm.rank());
    MeasureClocks clocks = real_clocks();
    if (comm.rank() == 4) clocks.wall = [] { return real_clocks().wall() + 3; };
    const auto pairs = measure_pairs(comm, channel, {0, 1, 2, 4}, 0, clocks, 60);  // rank 3 shares a host
    ASSERT_EQ(pairs.size(), 6u);
    const HostNames hosts{{0, "a"}, {1, "b"}, {2, "c"}, {4, "d"}};
    EXPECT_EQ(judge_pairs(pairs, hosts, 0, 6).values.at("slow_hosts"), Json::array({"c"}));
    const Row clock = judge_clocks(pairs, hosts);
    EXPECT_EQ(clock.status, Status::kWarning);
    EXPECT_THAT(clock.details, testing::UnorderedElementsAre("d is 3.0 s ahead of a", "d is 3.0 s ahead of b", "d is 3.0 s ahead of c"));
  });
}

TEST(MeasurePairs, StopsWhenTheTimeIsUp) {
  Network network;
  run_ranks(4, [&](Communicator& comm) {
    ThreadChannel channel(network, comm.rank());
    double time = 0;
    MeasureClocks clocks{[&] { return time += 1; }, [] { return 0.0; }};
    const auto pairs = measure_pairs(comm, channel, {0, 1, 2, 3}, 0, clocks, 2);
    EXPECT_EQ(pairs.size(), 2u);  // of the first round
  });
}

TEST(MeasureCollectives, SumsAreExact) {
  run_ranks(3, [](Communicator& comm) {
    const auto figures = measure_collectives(comm, at::kCPU, 1 << 18);
    EXPECT_EQ(figures.wrong, 0);
    EXPECT_GT(figures.rate, 0);
    EXPECT_LE(figures.bytes, 1 << 18);
  });
}

class Storage : public TemporaryFolder {
 protected:
  std::vector<Row> check(const std::string& dir, FileOps& files = posix_files(), int64_t checkpoint = 1 << 20) {
    std::vector<Row> rows;
    run_ranks(2, [&](Communicator& comm) {
      const StorageWanted wanted{dir, 3, checkpoint, true, this_process("h", "", 0)};
      const auto found = check_storage(comm, files, wanted);
      if (comm.rank() == 0) rows = found;
    });
    return rows;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    posix_files().list(path(""), &all);
    return all;
  }
};

TEST_F(Storage, IsTriedWhereTheRunWouldBeAndLeftAsItWas) {
  const auto rows = check(path("run"));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].status, Status::kOk) << rows[0].found;
  EXPECT_EQ(rows[1].status, Status::kOk) << rows[1].found;
  EXPECT_GT(rows[0].values.at("mb_per_second").get<double>(), 0);
  EXPECT_THAT(names(), testing::IsEmpty());
}

TEST_F(Storage, ADirectoryBelowAFileFailsWithFive) {
  std::ofstream(path("file")) << "x";
  const auto rows = check(path("file/run"));
  EXPECT_EQ(rows[0].status, Status::kFailed);
  EXPECT_EQ(rows[0].code, ExitCode::kStorage);
  EXPECT_EQ(rows[1].status, Status::kNotRun);
}

TEST_F(Storage, TooLittleSpaceFails) {
  const auto rows = check(path("run"), posix_files(), int64_t{1} << 55);
  EXPECT_EQ(rows[0].status, Status::kFailed);
  EXPECT_THAT(names(), testing::IsEmpty());
}

TEST_F(Storage, AnothersLockFailsWithNine) {
  std::filesystem::create_directory(path("run"));
  auto other = this_process("elsewhere", "", 0);
  other.pid_space = "another";
  const RunLock held(posix_files(), path("run"), other);
  const auto rows = check(path("run"));
  EXPECT_EQ(rows[0].status, Status::kOk) << rows[0].found;
  EXPECT_EQ(rows[1].status, Status::kFailed);
  EXPECT_EQ(rows[1].code, ExitCode::kLocked);
}

TEST_F(Storage, AFailedCallIsARowAndNoMore) {
  FailFiles files;
  int64_t faults = 0, call = 0;
  do {
    files.fail_at(++call, EIO);
    std::vector<Row> rows;
    run_ranks(1, [&](Communicator& comm) { rows = check_storage(comm, files, {path("run"), 3, 1 << 20, true, this_process("h", "", 0)}); });
    faults += rows.at(0).status == Status::kFailed ? 1 : 0;
    EXPECT_EQ(files.open_files(), 0) << call;
    remove_tree(posix_files(), folder_.string());
    std::filesystem::create_directories(folder_);
  } while (files.failed() && call < 1000);
  EXPECT_LT(call, 1000);
  EXPECT_GT(faults, 15);  // directory, file, write, fsync, close, rename, reading back, 16 blocks, ...
}

TEST(JudgeStorage, FaultsAndSpace) {
  StorageFigures f{"/x", {}, 100, 90, 10, 5.0, true};
  EXPECT_EQ(judge_storage(f).status, Status::kOk);
  f.free = 89;
  EXPECT_EQ(judge_storage(f).status, Status::kFailed);
  f.free = -1;
  EXPECT_EQ(judge_storage(f).status, Status::kOk);
  f.faults = {"rank 1 cannot fsync", "rank 2 cannot fsync"};
  const Row row = judge_storage(f);
  EXPECT_EQ(row.found, "rank 1 cannot fsync");
  EXPECT_THAT(row.details, testing::ElementsAre("rank 2 cannot fsync"));
  EXPECT_EQ(row.code, ExitCode::kStorage);
}

}  // namespace
}  // namespace fmtrain
