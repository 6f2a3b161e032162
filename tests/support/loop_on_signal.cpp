// Preloaded into ranks by hang.sh: SIGUSR2 sends a rank's main thread into an endless loop, wherever it is.
#include <csignal>

extern "C" void endless_loop(int) {
  for (volatile int i = 0;; i = i + 1) {
  }
}

namespace {
[[gnu::constructor]] void install() { std::signal(SIGUSR2, endless_loop); }
}  // namespace
