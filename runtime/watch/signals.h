// SIGTERM and SIGUSR1 ask for a stop at the next step boundary. One thread waits for them; nothing else is ever interrupted.
#pragma once

namespace fmtrain {

/// Blocks both signals in this thread and all it starts from now on, and starts the thread that takes them; to be called first
/// in the program, before MPI starts threads. A second signal changes nothing.
void take_stop_signals();
/// One has come.
bool stop_signalled();

}  // namespace fmtrain
