#include "comm/messages.h"

#include <ATen/ATen.h>

#include <set>

namespace fmtrain {
namespace {

/// MPI counts are ints.
constexpr int64_t kLongest = 1 << 30;

template <class Call>
void in_parts(int64_t bytes, const Call& call) {
  for (int64_t at = 0; at < bytes; at += kLongest) call(at, static_cast<int>(std::min(kLongest, bytes - at)));
}

}  // namespace

Messages::Messages(const Node& node) : node_(node) { MPI_Comm_dup(MPI_COMM_WORLD, &comm_); }

void* Messages::send_buffer(int64_t bytes) {
  buffers_.emplace_back(new char[static_cast<size_t>(bytes)]);
  return buffers_.back().get();
}

void Messages::send(const void* data, int64_t bytes, int to) {
  in_parts(bytes, [&](int64_t at, int count) {
    MPI_Isend(static_cast<const char*>(data) + at, count, MPI_BYTE, to, 0, comm_, &sends_.emplace_back());
  });
  partners_.push_back(to);
}

void* Messages::receive(int64_t bytes, int from) {
  void* data = send_buffer(bytes);
  receive_into(data, bytes, from);
  return data;
}

void Messages::receive_into(void* data, int64_t bytes, int from) {
  in_parts(bytes, [&](int64_t at, int count) {
    MPI_Irecv(static_cast<char*>(data) + at, count, MPI_BYTE, from, 0, comm_, &receives_.emplace_back());
  });
  partners_.push_back(from);
}

void Messages::wait(std::vector<MPI_Request>& requests, const char* what) {
  if (requests.empty()) return;
  const auto ready = [&] {
    int done = 0;
    MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE);
    return done != 0;
  };
  const auto describe = [&] {
    const std::set<int> ranks(partners_.begin(), partners_.end());
    return c10::str(what, " other nodes, with ranks ", std::vector<int>(ranks.begin(), ranks.end()));
  };
  node_.peers().await(ready, describe, true);
  requests.clear();
}

void Messages::wait_received() { wait(receives_, "a message from"); }

void Messages::wait_sent() {
  wait(sends_, "a message to");
  buffers_.clear();
  partners_.clear();
}

void Messages::barrier() {
  std::vector<MPI_Request> request(1);
  MPI_Ibarrier(comm_, request.data());
  wait(request, "a barrier of");
}

void Messages::close() { MPI_Comm_free(&comm_); }

}  // namespace fmtrain
