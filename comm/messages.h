// Messages between ranks of different nodes: sent at once, waited for together, never longer than a node's wait limit. Whom a rank
// waits for stands on its node's board.
#pragma once
#include <mpi.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "comm/node.h"

namespace fmtrain {

/// Two messages from one rank to another arrive in the order they were sent; both sides agree on their lengths.
class Messages {
 public:
  /// Collective over `comm`, of which a copy is made, and whose ranks are those below. The node outlives this.
  Messages(Node& node, MPI_Comm comm);
  /// Memory for a message, kept until wait_sent().
  void* send_buffer(int64_t bytes);
  /// The bytes stay untouched until wait_sent().
  void send(const void* data, int64_t bytes, int to);
  /// Memory into which a message from `from` will come, kept until wait_sent(); there after wait_received().
  void* receive(int64_t bytes, int from);
  void receive_into(void* data, int64_t bytes, int from);
  void wait_received();
  /// Everything is sent, and the buffers of this class may be used anew.
  void wait_sent();
  /// Returns when all ranks of `leaders`, this one among them, have come here.
  void meet(const std::vector<int>& leaders);
  /// Collective.
  void close();

 private:
  struct Part { MPI_Request request; int partner; };
  /// Begins an operation: MPI_Isend or MPI_Irecv.
  template <class Begin, class Byte>
  void begin(std::vector<Part>& parts, const Begin& operation, Byte* data, int64_t bytes, int partner);
  void wait(std::vector<Part>& parts, const char* what);

  Node& node_;
  MPI_Comm comm_;
  std::vector<Part> sends_, receives_;
  std::vector<std::unique_ptr<char[]>> buffers_;
};

}  // namespace fmtrain
