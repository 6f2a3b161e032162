#include "runtime/watch/stack.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <thread>

namespace fmtrain {
namespace {

constexpr int kFrames = 66, kHandlerFrames = 2;  ///< the handler itself and the kernel's return from it
constexpr std::chrono::milliseconds kPatience{1000}, kNap{5};
constexpr size_t kNameBytes = 300;  ///< names of templates have no end

void* frames[kFrames];
std::atomic<int> frames_found{-1};  ///< frames; -1: no answer yet
std::atomic<pthread_t> watched{};
std::atomic<pid_t> watched_id{0};

int signal_number() { return SIGRTMIN + 5; }

void answer(int) {
  const int saved = errno;
  frames_found.store(backtrace(frames, kFrames), std::memory_order_release);
  errno = saved;
}

std::string demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
  return status == 0 ? text.get() : name;
}

/// `back`: 1 for a return address, which may be the first of the next function.
std::string frame_line(const void* frame, int back) {
  const char* const address = static_cast<const char*>(frame) - back;
  char offset[32];
  Dl_info info{};
  if (dladdr(address, &info) == 0 || !info.dli_fname) return std::snprintf(offset, sizeof offset, "%p", frame), offset;
  std::snprintf(offset, sizeof offset, "+0x%tx", address - static_cast<const char*>(info.dli_fbase));
  const char* slash = std::strrchr(info.dli_fname, '/');
  const std::string place = (slash ? slash + 1 : info.dli_fname) + std::string(offset);
  return info.dli_sname ? place + " " + demangled(info.dli_sname).substr(0, kNameBytes) : place;
}

/// What proc(5) says of a thread that does not answer.
std::string state_of_thread(pid_t id) {
  const std::string folder = "/proc/self/task/" + std::to_string(id);
  std::string line, where;
  std::getline(std::ifstream(folder + "/stat"), line);
  std::getline(std::ifstream(folder + "/wchan"), where);
  const auto end = line.rfind(')');
  const char state = end != std::string::npos && end + 2 < line.size() ? line[end + 2] : '?';
  if (state == 'T' || state == 't') return "stopped";
  if (state == 'D') return "in the kernel (D), waiting for a device or a file system, in " + where;
  return std::string("state ") + state + " (proc(5))";
}

}  // namespace

void watch_stack_of_this_thread() {
  void* first[1];
  backtrace(first, 1);  // the first call loads libgcc_s and allocates; later ones do not
  struct sigaction action {};
  action.sa_handler = answer;
  action.sa_flags = SA_RESTART;
  sigaction(signal_number(), &action, nullptr);
  watched_id = gettid();
  watched = pthread_self();
}

std::vector<std::string> stack() {
  if (!watched_id) return {};
  frames_found = -1;
  if (pthread_kill(watched, signal_number()) != 0) return {"no answer: the thread has ended"};
  const auto start = std::chrono::steady_clock::now();
  while (frames_found < 0 && std::chrono::steady_clock::now() - start < kPatience) std::this_thread::sleep_for(kNap);
  const int count = frames_found.load(std::memory_order_acquire);
  if (count < 0) return {"no answer: " + state_of_thread(watched_id)};
  std::vector<std::string> lines;
  for (int i = kHandlerFrames; i < count; ++i) lines.push_back(frame_line(frames[i], i > kHandlerFrames));
  return lines;
}

}  // namespace fmtrain
