// Where a thread stands, asked from another one: for the record of a hang.
#pragma once
#include <string>
#include <vector>

namespace fmtrain {

/// The thread that calls this is the one that stack() asks, from now on. Takes the signal SIGRTMIN + 5.
void watch_stack_of_this_thread();

/// Its stack, innermost function first, at most 64 lines "module+0xOFFSET function", the function where the module exports its
/// name; addr2line -f -C -e MODULE 0xOFFSET says function and line. A signal interrupts the thread, which fills a buffer made beforehand and
/// goes on: it allocates nothing and takes no lock, so it may be anywhere. Without an answer after 1 s one line says what the
/// kernel says of the thread ("no answer: stopped", "no answer: in the kernel (D) ..."). Empty: no thread is watched. Not for
/// that thread itself; one caller at a time.
std::vector<std::string> stack();

}  // namespace fmtrain
