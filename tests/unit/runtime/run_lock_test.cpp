// Who owns a run directory: one run, whatever else starts, ended, or sleeps.
#include "runtime/run_lock.h"

#include <gmock/gmock.h>

#include <cerrno>
#include <filesystem>
#include <thread>

#include "tests/unit/checkpoint/forwarding_files.h"
#include "tests/unit/runtime/run_lock_folder.h"

namespace fmtrain {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// With the calls that only the lock makes.
class LockFiles : public ForwardingFiles {
 public:
  int modified(int fd, int64_t* nanoseconds) override { return posix_files().modified(fd, nanoseconds); }
  int touch(int fd) override { return posix_files().touch(fd); }
  int is_at(int fd, const std::string& path, bool* is) override { return posix_files().is_at(fd, path, is); }
};

TEST_F(RunLockTest, OneOwnerAndTheOtherIsToldWhoItIs) {
  me_.job = "815";
  times_.patience = LockTimes{}.patience;
  const auto first = start();
  ASSERT_EQ(first.code, 0) << first.message;
  EXPECT_EQ(first.lock->generation(), 1);
  EXPECT_TRUE(first.lock->still_mine());
  const double began = seconds_now();
  const auto second = start();
  EXPECT_LT(seconds_now() - began, 1);
  EXPECT_EQ(second.code, 9);
  EXPECT_THAT(second.message, AllOf(HasSubstr(path("lock.json")), HasSubstr("process " + std::to_string(me_.pid) + " on \"here\""),
                                    HasSubstr("job \"815\""), HasSubstr("0 s ago"), HasSubstr("another run.dir"), HasSubstr("300 s")));
  EXPECT_TRUE(first.lock->still_mine());
  EXPECT_THAT(names(), testing::ElementsAre("lock.json"));
}

TEST_F(RunLockTest, IsHeldForOthersOnlyAndWhileItIs) {
  auto other = me_;
  ++other.started;
  const auto held = [&](const LockIdentity& by) { return RunLock::is_held(posix_files(), path(""), by, times_); };
  EXPECT_FALSE(held(other));
  {
    const auto owner = start();
    ASSERT_EQ(owner.code, 0) << owner.message;
    EXPECT_TRUE(held(other));
    EXPECT_FALSE(held(me_));
  }
  EXPECT_FALSE(held(other));
  killed_owner();
  EXPECT_FALSE(held(other));
  write("lock.json", "{");
  EXPECT_TRUE(held(other));
  EXPECT_THAT(names(), testing::ElementsAre("lock.json"));
}

TEST_F(RunLockTest, ReleaseKeepsTheGeneration) {
  for (int64_t generation = 1; generation < 4; ++generation) {
    const auto owner = start();
    ASSERT_EQ(owner.code, 0) << owner.message;
    EXPECT_EQ(owner.lock->generation(), generation);
  }
  const std::string whole = content("lock.json");
  ASSERT_THAT(whole, HasSubstr("released"));
  write("lock.json", whole.substr(0, whole.size() - 3));  // cut off while it was marked: our process lives
  EXPECT_EQ(start().code, 9);
}

TEST_F(RunLockTest, AProcessThatEndedHoldsNothing) {
  killed_owner();
  EXPECT_EQ(start().code, 0);

  const pid_t child = ::fork();  // ended, but its parent has not waited for it
  if (child == 0) {
    new RunLock(posix_files(), folder_.string(), this_process("here", "", 0), times_);
    ::kill(::getpid(), SIGKILL);
  }
  siginfo_t info;
  ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
  EXPECT_EQ(start().code, 0);
  ::waitpid(child, nullptr, 0);

  LockIdentity reused = me_;  // its pid is now ours
  ++reused.started;
  write("lock.json", text(reused, 6));
  const auto taken = start();
  ASSERT_EQ(taken.code, 0) << taken.message;
  EXPECT_EQ(taken.lock->generation(), 7);
}

TEST_F(RunLockTest, AnotherMachineUntilItsLeaseRunsOut) {
  write("lock.json", text(elsewhere_, 7));
  age(290s);
  const auto refused = start();
  EXPECT_EQ(refused.code, 9);
  EXPECT_THAT(refused.message, testing::ContainsRegex("process 4242 on \"node7\".* 29[0-2] s ago"));
  EXPECT_EQ(content("lock.json"), text(elsewhere_, 7));
  age();
  const auto taken = start();
  ASSERT_EQ(taken.code, 0) << taken.message;
  EXPECT_EQ(taken.lock->generation(), 8);
}

/// The same host name and pid in another container is another process, which cannot be seen from here.
TEST_F(RunLockTest, ThePidOfAnotherSpaceSaysNothing) {
  elsewhere_.host = me_.host;
  write("lock.json", text(elsewhere_, 1));
  EXPECT_EQ(start().code, 9);
  me_.pid_space = elsewhere_.pid_space = "";  // unknown on both sides
  write("lock.json", text(elsewhere_, 1));
  EXPECT_EQ(start().code, 9);
}

TEST_F(RunLockTest, AnEarlierRestartOfTheJob) {
  struct Case {
    const char* name;
    std::string job;
    int64_t restart;
    std::string my_job;
    int64_t my_restart;
    int code;
  };
  for (const auto& c : std::vector<Case>{{"requeued", "55", 0, "55", 1, 0},
                                         {"processes of one start, each alone", "55", 1, "55", 1, 9},
                                         {"a later one", "55", 2, "55", 1, 9},
                                         {"another job", "54", 0, "55", 1, 9},
                                         {"no jobs", "", 0, "", 1, 9}}) {
    elsewhere_.job = c.job;
    elsewhere_.restart = c.restart;
    write("lock.json", text(elsewhere_, 1));
    EXPECT_EQ(start(this_process("here", c.my_job, c.my_restart)).code, c.code) << c.name;
  }
  LockIdentity alive = me_;
  alive.job = "55";
  write("lock.json", text(alive, 1));
  EXPECT_EQ(start(this_process("here", "55", 1)).code, 9) << "it still runs on this host";
}

TEST_F(RunLockTest, AFencedOwnerReachesNothing) {
  times_.renew = 1ms;
  auto sleeper = start();
  ASSERT_EQ(sleeper.code, 0);
  write("lock.json", text(elsewhere_, 3));  // in place: its renewals reach this file
  std::string why;
  EXPECT_FALSE(sleeper.lock->still_mine(&why));
  EXPECT_THAT(why, AllOf(HasSubstr(path("lock.json")), HasSubstr("process 4242 on \"node7\"")));

  clear();
  EXPECT_FALSE(sleeper.lock->still_mine(&why));
  EXPECT_THAT(why, HasSubstr("gone"));
  times_.renew = 1h;
  const auto owner = start();
  ASSERT_EQ(owner.code, 0);
  const std::string text_of_owner = content("lock.json");
  age(200s);
  std::this_thread::sleep_for(20ms);  // the sleeper renews
  EXPECT_FALSE(sleeper.lock->still_mine());
  EXPECT_GT(lease_age(), 199s);
  sleeper.lock.reset();
  EXPECT_EQ(content("lock.json"), text_of_owner);
  EXPECT_TRUE(owner.lock->still_mine());
}

TEST_F(RunLockTest, ATakeoverFencesTheOldOwner) {
  auto sleeper = start();
  ASSERT_EQ(sleeper.code, 0);
  age();
  const auto owner = start();
  ASSERT_EQ(owner.code, 0) << owner.message;
  EXPECT_EQ(owner.lock->generation(), 2);
  const std::string text_of_owner = content("lock.json");
  EXPECT_FALSE(sleeper.lock->still_mine());
  sleeper.lock.reset();
  EXPECT_EQ(content("lock.json"), text_of_owner);
  EXPECT_TRUE(owner.lock->still_mine());
}

TEST_F(RunLockTest, RenewalAndCheckProlongTheLease) {
  const auto fresh = [&] { return lease_age() < 100s; };
  const auto checked = start();
  ASSERT_EQ(checked.code, 0);
  age();
  EXPECT_TRUE(checked.lock->still_mine());
  EXPECT_TRUE(fresh());
  age();
  times_.renew = 1ms;
  const auto renewed = start();
  ASSERT_EQ(renewed.code, 0);
  age(200s);
  for (int i = 0; i < 5000 && !fresh(); ++i) std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(fresh());
}

/// A server whose clock is off by days: only differences of its own times count.
TEST_F(RunLockTest, TheClockOfTheFileServer) {
  struct Server : LockFiles {
    int modified(int fd, int64_t* nanoseconds) override {
      const int error = LockFiles::modified(fd, nanoseconds);
      *nanoseconds += offset;
      return error;
    }
    int64_t offset = 0;
  } server;
  for (const int64_t days : {-3, 3}) {
    server.offset = days * 86'400 * 1'000'000'000;
    write("lock.json", text(elsewhere_, 1));
    EXPECT_EQ(start(server).code, 9) << days;
    age();
    EXPECT_EQ(start(server).code, 0) << days;
  }
}

/// A starter that was killed between creating its claim and writing it must not keep the next one waiting for a whole lease.
TEST_F(RunLockTest, AnEmptyClaimHoldsForAMomentOnly) {
  write("lock.json.next-1", "");
  EXPECT_EQ(start().code, 9);  // perhaps it is at work
  times_.patience = LockTimes{}.patience;
  const auto waited = start();
  ASSERT_EQ(waited.code, 0) << waited.message;
  EXPECT_THAT(names(), testing::ElementsAre("lock.json"));
  write("lock.json.next-1", "x");  // what another program wrote is another matter
  EXPECT_EQ(start().code, 9);
}

TEST_F(RunLockTest, WhatCannotBeUnderstoodIsNotTakenAtOnce) {
  const std::string good = text(elsewhere_, 5);
  std::vector<std::string> texts{"", "\n", "null", "[]", "{}", good.substr(0, good.size() / 2), std::string(10 << 20, ' '),
                                 std::string(4000, '['), "{\"host\":1}", std::string("\0\xff", 2), text(elsewhere_, 0),
                                 text(elsewhere_, -1), text(elsewhere_, INT64_MAX), text(elsewhere_, 5, "")};
  for (const int64_t pid : {int64_t{-1}, int64_t{0}, int64_t{1} << 40}) {
    LockIdentity who = elsewhere_;
    who.pid = pid;
    texts.push_back(text(who, 1));
  }
  for (const auto& hostile : texts) {
    write("lock.json", hostile);
    const auto refused = start();
    EXPECT_EQ(refused.code, 9) << hostile.substr(0, 200);
    EXPECT_THAT(refused.message, AllOf(HasSubstr(path("lock.json: cannot be understood")), HasSubstr("remove it")));
    EXPECT_LT(refused.message.size(), 800u);
    EXPECT_EQ(content("lock.json"), hostile);
    age();
    const auto taken = start();
    ASSERT_EQ(taken.code, 0) << taken.message << hostile.substr(0, 200);
    EXPECT_EQ(taken.lock->generation(), 1);
    write("lock.json", hostile);
    EXPECT_FALSE(taken.lock->still_mine());
  }
}

/// Neither a pipe, whose opening would wait for ever, nor a link to a file of somebody's is read or written.
TEST_F(RunLockTest, APipeOrALinkIsNotOpened) {
  write("precious", text(elsewhere_, 5));
  age();
  for (const char* target : {"precious", "nothing", "/dev/zero"}) {
    std::filesystem::create_symlink(target, path("lock.json"));
    const auto refused = start();
    EXPECT_EQ(refused.code, 5) << target;
    EXPECT_THAT(refused.message, HasSubstr(path("lock.json") + ": cannot read: ")) << target;
    EXPECT_EQ(content("precious"), text(elsewhere_, 5));
    std::filesystem::remove(path("lock.json"));
  }
  EXPECT_FALSE(std::filesystem::exists(path("nothing")));
  ASSERT_EQ(::mkfifo(path("lock.json").c_str(), 0600), 0);
  EXPECT_EQ(start().code, 5);
}

/// Names in it reach a terminal: no control character does.
TEST_F(RunLockTest, ForgedNamesCannotForgeALine) {
  LockIdentity who = elsewhere_;
  who.host = "node\n\x1b[2Jfmtrain: all is well";
  who.job = "../../etc\r\x07";
  write("lock.json", text(who, 5));
  const auto refused = start();
  EXPECT_EQ(refused.code, 9);
  EXPECT_THAT(refused.message, AllOf(Not(HasSubstr("\n")), Not(HasSubstr("\x1b")), Not(HasSubstr("\r")), Not(HasSubstr("\x07"))));
  LockIdentity deep = elsewhere_;
  write("lock.json", "{\"host\":" + std::string(1000, '[') + std::string(1000, ']') + "," + text(deep, 5).substr(1));
  EXPECT_EQ(start().code, 9);
}

/// The leftovers of killed starters go, the claim of one that may still be at work stays.
TEST_F(RunLockTest, CleansUp) {
  write("lock.json.clock-0", "\n");
  write("lock.json.next-3", text(elsewhere_, 1));
  write("lock.json.next-4", "");
  age();
  write("lock.json.next-5", text(elsewhere_, 1));
  EXPECT_EQ(start().code, 0);
  EXPECT_THAT(names(), testing::ElementsAre("lock.json", "lock.json.next-5"));
  EXPECT_EQ(content("lock.json.next-5"), text(elsewhere_, 1));
}

TEST_F(RunLockTest, ADirectoryThatIsNotThereOrNotAFile) {
  remove_tree(posix_files(), folder_.string());
  const auto none = start();
  EXPECT_EQ(none.code, 5);
  EXPECT_THAT(none.message, AllOf(HasSubstr(path("lock.json")), HasSubstr("No such file")));
  std::filesystem::create_directories(folder_ / "lock.json");
  EXPECT_EQ(start().code, 5);
}

/// Answers of network file systems: a rename that was sent again finds nothing to rename, a file was replaced while it was opened.
TEST_F(RunLockTest, OnlyTheNonceCounts) {
  struct Server : LockFiles {
    int rename(const std::string& from, const std::string& to) override {
      if (works) LockFiles::rename(from, to);
      return ENOENT;
    }
    int open(const std::string& path, int* fd) override { return ++opens % 2 == 0 ? ESTALE : LockFiles::open(path, fd); }
    bool works = true;
    int opens = 0;
  } server;
  killed_owner();
  {
    const auto owner = start(server);
    ASSERT_EQ(owner.code, 0) << owner.message;
    EXPECT_EQ(owner.lock->generation(), 2);
    EXPECT_TRUE(owner.lock->still_mine());
  }
  server.works = false;
  EXPECT_EQ(start(server).code, 5);
  EXPECT_EQ(next_generation(), 3);
}

}  // namespace
}  // namespace fmtrain
