#include "runtime/watch/stack.h"

#include <gmock/gmock.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>

namespace fmtrain {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::atomic<bool> done{false}, ready{false};
std::atomic<void*> sink{nullptr};

}  // namespace

/// Not in the unnamed namespace: the test program exports its name.
[[gnu::noinline]] void loops_for_ever() {
  ready = true;
  while (!done) {
  }
}

namespace {

/// What stack() says while another thread is in `body`, `times` times in a row.
std::vector<std::string> stack_in(const std::function<void()>& body, int times = 1) {
  done = ready = false;
  std::thread thread([&] {
    watch_stack_of_this_thread();
    body();
  });
  while (!ready) std::this_thread::yield();
  std::vector<std::string> lines;
  for (int i = 0; i < times; ++i) lines = stack();
  done = true;
  thread.join();
  return lines;
}

TEST(Stack, NamesTheEndlessLoop) {
  const auto lines = stack_in(loops_for_ever);
  ASSERT_FALSE(lines.empty());
  EXPECT_THAT(lines[0], HasSubstr(" fmtrain::loops_for_ever()"));
  EXPECT_LE(lines.size(), 64u);
}

TEST(Stack, IsFoundInsideTheAllocator) {
  const auto lines = stack_in([] {
    while (!done) {
      sink = std::malloc(100'000);
      std::free(sink);
      ready = true;
    }
  }, 500);
  EXPECT_THAT(lines, testing::Not(Contains(StartsWith("no answer"))));
  EXPECT_FALSE(lines.empty());
}

TEST(Stack, IsFoundInABlockedRead) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ready = false;
  std::thread thread([&] {
    watch_stack_of_this_thread();
    ready = true;
    char byte = 0;
    EXPECT_EQ(::read(ends[0], &byte, 1), 1) << "the signal does not disturb it";
  });
  while (!ready) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_THAT(stack(), Contains(HasSubstr("read")));
  EXPECT_EQ(::write(ends[1], "x", 1), 1);
  thread.join();
  for (const int end : ends) ::close(end);
}

TEST(Stack, WithoutAnAnswerHasTheStateOfTheThread) {
  EXPECT_THAT(stack_in([] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    loops_for_ever();
  }), ElementsAre(StartsWith("no answer: state R")));
}

}  // namespace
}  // namespace fmtrain
