// Any communicator, and a journal of what it was asked for.
#pragma once
#include <memory>

#include "comm/communicator.h"
#include "comm/journal.h"

namespace fmtrain {

/// Passes everything on to `inner` and writes it into `journal`; both outlive it.
class RecordingCommunicator : public Communicator {
 public:
  /// Marks as done what a GPU has finished since the last call; for any thread but one at a time. On the CPU there is nothing to mark.
  virtual void refresh() = 0;
};
std::unique_ptr<RecordingCommunicator> make_recording_communicator(Communicator& inner, Journal& journal);

}  // namespace fmtrain
