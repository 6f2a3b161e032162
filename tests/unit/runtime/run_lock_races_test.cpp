// The run-directory lock when starters race, are killed between two calls, or have calls that fail.
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <new>

#include "tests/support/fail_files.h"
#include "tests/unit/runtime/run_lock_folder.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;

/// What a starter may find, and the generation it then has.
struct Found {
  const char* name;
  std::function<void()> prepare;
  int64_t generation;
};

class RunLockRaces : public RunLockTest {
 protected:
  std::ptrdiff_t count_claims() const {
    const auto all = names();
    return std::count_if(all.begin(), all.end(), [](const auto& name) { return name.starts_with("lock.json.next-"); });
  }

  std::vector<Found> found_{
      {"nothing", [this] { clear(); }, 1},
      {"a dead owner", [this] { clear(); killed_owner(); }, 2},
      {"a released lock", [this] { clear(); start(); }, 2},
      {"a lease that ran out", [this] { clear(); write("lock.json", text(elsewhere_, 7)); age(); }, 8},
      {"two claims of dead starters", [this] {
         clear();
         killed_owner();
         write("lock.json.next-1", content("lock.json"));
         write("lock.json.next-2", content("lock.json"));
       }, 2}};
};

/// Every instant at which a second starter can come in between two calls of the first one: one of them wins.
TEST_F(RunLockRaces, ASecondStarterAtEveryInstant) {
  for (const auto& found : found_)
    for (int64_t call = 1, clean = 0; !clean; ++call) {
      ASSERT_LT(call, 100);
      found.prepare();
      clean = 1;
      Attempt second;
      FailFiles files;
      files.interrupt_at(call, [&] { clean = 0; second = start(); });
      const auto first = start(files);
      if (clean) continue;
      const auto& winner = first.lock ? first : second;
      ASSERT_NE(!first.lock, !second.lock) << found.name << ", call " << call << ": " << first.message << second.message;
      EXPECT_TRUE(winner.lock->still_mine()) << found.name << ", call " << call;
      EXPECT_EQ(winner.lock->generation(), found.generation) << found.name << ", call " << call;
      EXPECT_EQ(first.code + second.code, 9);
      EXPECT_EQ(start().code, 9);
    }
}

/// A starter sleeps at any instant until an owner has taken it for dead, and a third starter has a claim of the same name. It leaves that
/// alone: a second starter at work would judge beside the third.
TEST_F(RunLockRaces, AStalledStarterLeavesTheClaimOfAnother) {
  const std::string claim = text(elsewhere_, 9, "third");
  int stalled = 0;
  for (int64_t call = 1, clean = 0; !clean; ++call) {
    ASSERT_LT(call, 100);
    clear();
    clean = 1;
    bool had_claim = false;
    Attempt owner;
    FailFiles files;
    files.interrupt_at(call, [&] {
      clean = 0;
      had_claim = count_claims() > 0;
      if (!had_claim) return;
      age();
      owner = start();
      ASSERT_EQ(owner.code, 0) << owner.message;
      ASSERT_EQ(count_claims(), 0);
      write("lock.json.next-1", claim);
    });
    const auto sleeper = start(files);
    if (!had_claim) continue;
    EXPECT_EQ(sleeper.code, 9) << "call " << call;
    if (content("lock.json") == claim) continue;  // between its last look and the rename: the third one is then the owner, by its nonce
    ++stalled;
    EXPECT_EQ(content("lock.json.next-1"), claim) << "call " << call;
    EXPECT_TRUE(owner.lock->still_mine()) << "call " << call;
  }
  EXPECT_EQ(stalled, 4);  // before it writes, syncs, looks for its claim, and looks at lock.json again
}

/// A starter that is killed before any of its calls keeps nobody out for longer than a lease, and loses no generation.
TEST_F(RunLockRaces, KilledAtEveryInstant) {
  for (const auto& found : found_) {
    FailFiles whole;
    found.prepare();
    { const auto counted = start(whole); }
    for (int64_t call = 1; call <= whole.calls(); ++call) {
      found.prepare();
      killed([&] {
        me_ = this_process("here", "", 0);
        FailFiles files;
        files.interrupt_at(call, [] { ::kill(::getpid(), SIGKILL); });
        start(files);
      });
      const int64_t generation = next_generation();
      EXPECT_GE(generation, found.generation) << found.name << ", call " << call;
      EXPECT_LE(generation, found.generation + 1) << found.name << ", call " << call;
    }
  }
}

/// Every call fails, alone or with all after it: no second owner, no open file, and the next start finds its way.
TEST_F(RunLockRaces, EveryCallFails) {
  for (const auto& found : found_)
    for (const bool from_then_on : {false, true})
      for (int64_t call = 1, clean = 0; !clean; ++call) {
        ASSERT_LT(call, 100);
        found.prepare();
        const auto claims = count_claims();
        FailFiles files;
        files.fail_at(call, EIO, from_then_on);
        auto first = start(files);
        if (first.lock) {
          EXPECT_EQ(start().code, 9) << found.name << ", call " << call;
          std::string why;
          if (!first.lock->still_mine(&why)) {
            EXPECT_THAT(why, HasSubstr(path("lock.json"))) << call;
          }
          first.lock.reset();
        } else {
          EXPECT_EQ(first.code, 5) << found.name << ", call " << call;
          EXPECT_THAT(first.message, HasSubstr(path("lock.json"))) << call;
          if (!from_then_on) {
            EXPECT_EQ(count_claims(), claims) << found.name << ", call " << call;
            EXPECT_EQ(start().code, 0) << found.name << ", call " << call;
          }
        }
        clean = !files.failed();
        EXPECT_EQ(files.open_files(), 0) << found.name << ", call " << call;
        EXPECT_GE(next_generation(), found.generation) << found.name << ", call " << call;
      }
}

/// Two processes start at once, 200 times; the winner of a round is killed or releases its lock.
TEST_F(RunLockRaces, TwoHundredRaces) {
  struct Start {
    std::atomic<int> code{-1};
    pid_t pid = 0;
    double seconds = 0;
    char message[600] = {};
  };
  struct Round {
    std::atomic<int> ready{0}, done{0};
    std::array<Start, 2> starts;
  };
  void* memory = ::mmap(nullptr, sizeof(Round), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  times_.patience = LockTimes{}.patience;
  for (size_t i = 0; i < 200; ++i) {
    found_[i % found_.size()].prepare();
    auto* round = new (memory) Round;
    for (auto& mine : round->starts) {
      if (const pid_t child = ::fork()) {
        mine.pid = child;
        continue;
      }
      me_ = this_process("here", "", 0);
      ++round->ready;
      while (round->ready < 2) ::sched_yield();
      const double began = seconds_now();
      auto attempt = start();
      mine.seconds = seconds_now() - began;
      std::snprintf(mine.message, sizeof mine.message, "%s", attempt.message.c_str());
      mine.code = attempt.code;
      ++round->done;
      while (round->done < 2) ::sched_yield();
      if (attempt.lock && !attempt.lock->still_mine()) mine.code = 99;
      if (i % 2 == 0) attempt.lock.reset();
      ::kill(::getpid(), SIGKILL);
    }
    for (const auto& one : round->starts) ::waitpid(one.pid, nullptr, 0);
    const auto& [a, b] = round->starts;
    const auto& winner = a.code == 0 ? a : b;
    const auto& loser = a.code == 0 ? b : a;
    ASSERT_EQ(winner.code, 0) << i << ": " << a.message << b.message;
    ASSERT_EQ(loser.code, 9) << i << ": " << loser.message;
    EXPECT_LT(loser.seconds, 1) << i;
    EXPECT_THAT(std::string(loser.message), HasSubstr("process " + std::to_string(winner.pid) + " on ")) << i;
  }
  ::munmap(memory, sizeof(Round));
}

}  // namespace
}  // namespace fmtrain
