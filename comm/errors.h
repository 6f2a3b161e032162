// What can go wrong between ranks. comm knows no exit codes: launch turns PeerDied into 7, PeerSilent into 8, CommError into 2.
#pragma once
#include <stdexcept>
#include <string>

namespace fmtrain {

/// The launcher or the machine does not allow what was asked (too little shared memory, ranks that cannot see each other).
struct CommError : std::runtime_error { using std::runtime_error::runtime_error; };

/// A rank ended while others wait for it. The message names rank, host and process. The world cannot go on: abort the session.
struct PeerDied : std::runtime_error { using std::runtime_error::runtime_error; };

/// A rank did not come to a collective within the limit, or is stopped. The message names it and what the others wait in.
/// The world cannot go on: abort the session.
struct PeerSilent : std::runtime_error { using std::runtime_error::runtime_error; };

/// The ranks of a node make different calls, and would wait for each other for ever. The message names the odd ones out and what they
/// call; without a majority it names all.
struct CallsDiffer : PeerSilent { using PeerSilent::PeerSilent; };

}  // namespace fmtrain
