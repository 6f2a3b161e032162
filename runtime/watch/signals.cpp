#include "runtime/watch/signals.h"

#include <csignal>

#include <atomic>
#include <cstdlib>
#include <thread>

namespace fmtrain {
namespace {

std::atomic<bool> signalled{false};

}  // namespace

void take_stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGUSR1}) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::thread([set] {
    for (int signal = 0;;)
      if (sigwait(&set, &signal) == 0) signalled = true;
  }).detach();
}

bool stop_signalled() { return signalled; }

}  // namespace fmtrain
