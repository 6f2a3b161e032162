// Messages between ranks of different nodes: sent at once, waited for together, never longer than a node's wait limit.
#pragma once
#include <mpi.h>

#include <deque>
#include <memory>
#include <vector>

#include "comm/node.h"

namespace fmtrain {

/// Two messages from one rank to another arrive in the order they were sent; both sides agree on their lengths.
class Messages {
 public:
  /// Collective over the world. The node outlives this.
  explicit Messages(const Node& node);
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
  /// Every rank of the world has come here.
  void barrier();
  /// Collective.
  void close();

 private:
  void wait(std::vector<MPI_Request>& requests, const char* what);

  const Node& node_;
  MPI_Comm comm_;
  std::vector<MPI_Request> sends_, receives_;
  std::vector<int> partners_;                       ///< whom this rank waits for
  std::vector<std::unique_ptr<char[]>> buffers_;
};

}  // namespace fmtrain
