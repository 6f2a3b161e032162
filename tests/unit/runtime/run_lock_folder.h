// A run directory and who starts in it.
#pragma once
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/errors.h"
#include "runtime/json.h"
#include "runtime/run_lock.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {

using namespace std::chrono_literals;

inline double seconds_now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

class RunLockTest : public TemporaryFolder {
 protected:
  void SetUp() override {  // in memory where that is possible: no stall of a disk is taken for a wait
    TemporaryFolder::SetUp();
    const auto memory = std::filesystem::path("/dev/shm") / folder_.filename();
    std::error_code error;
    if (std::filesystem::create_directories(memory, error)) {
      remove_tree(posix_files(), folder_.string());
      folder_ = memory;
    }
  }

  struct Attempt {
    std::unique_ptr<RunLock> lock;
    int code = 0;
    std::string message;
  };

  Attempt start(FileOps& files = posix_files()) { return start(me_, files); }
  Attempt start(const LockIdentity& who, FileOps& files = posix_files()) {
    Attempt result;
    try {
      result.lock = std::make_unique<RunLock>(files, folder_.string(), who, times_);
    } catch (const Error& error) {
      result.code = static_cast<int>(error.code());
      result.message = error.what();
    }
    return result;
  }

  /// A process that did `action` and was killed.
  void killed(const std::function<void()>& action) const {
    const pid_t child = ::fork();
    if (child == 0) {
      action();
      ::kill(::getpid(), SIGKILL);
    }
    ::waitpid(child, nullptr, 0);
  }
  void killed_owner() const {
    killed([&] { new RunLock(posix_files(), folder_.string(), this_process("here", "", 0), times_); });
  }

  static std::string text(const LockIdentity& who, int64_t generation, const std::string& nonce = "another") {
    return Json{{"host", who.host}, {"pid", who.pid}, {"started", who.started}, {"pid_space", who.pid_space}, {"job", who.job},
                {"restart", who.restart}, {"nonce", nonce}, {"generation", generation}}.dump() + "\n";
  }
  /// The lease of all lock files ran out.
  void age(std::chrono::seconds by = 301s) const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      if (entry.path().filename().string().starts_with("lock.json"))
        std::filesystem::last_write_time(entry, std::filesystem::file_time_type::clock::now() - by);
  }
  std::filesystem::file_time_type::duration lease_age() const {
    return std::filesystem::file_time_type::clock::now() - std::filesystem::last_write_time(path("lock.json"));
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    posix_files().list(folder_.string(), &found);
    return found;
  }
  void clear() const {
    for (const auto& name : names()) posix_files().unlink(path(name));
  }
  /// The generation of a start that must succeed, at the latest when leases ran out, and that leaves nothing but lock.json.
  int64_t next_generation() {
    auto next = start();
    if (next.code == 9) {
      age();
      next = start();
    }
    EXPECT_EQ(next.code, 0) << next.message;
    if (!next.lock) return 0;
    EXPECT_THAT(names(), testing::ElementsAre("lock.json"));
    EXPECT_TRUE(next.lock->still_mine());
    return next.lock->generation();
  }

  LockIdentity me_ = this_process("here", "", 0);
  LockIdentity elsewhere_{"node7", 4242, 99, "another machine", "", 0};
  LockTimes times_{30s, 300s, 20ms};
};

}  // namespace fmtrain
