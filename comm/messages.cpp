#include "comm/messages.h"

#include <ATen/ATen.h>

#include <set>

namespace fmtrain {
namespace {

/// MPI counts are ints.
constexpr int64_t kLongest = 1 << 30;

}  // namespace

Messages::Messages(Node& node, MPI_Comm comm) : node_(node) { MPI_Comm_dup(comm, &comm_); }

void* Messages::send_buffer(int64_t bytes) {
  buffers_.emplace_back(new char[static_cast<size_t>(bytes)]);
  return buffers_.back().get();
}

template <class Begin, class Byte>
void Messages::begin(std::vector<Part>& parts, const Begin& operation, Byte* data, int64_t bytes, int partner) {
  for (int64_t at = 0; at < bytes; at += kLongest) {
    auto& part = parts.emplace_back(MPI_REQUEST_NULL, partner);
    operation(data + at, static_cast<int>(std::min(kLongest, bytes - at)), MPI_BYTE, partner, 0, comm_, &part.request);
  }
}

void Messages::send(const void* data, int64_t bytes, int to) { begin(sends_, MPI_Isend, static_cast<const char*>(data), bytes, to); }

void* Messages::receive(int64_t bytes, int from) {
  void* data = send_buffer(bytes);
  receive_into(data, bytes, from);
  return data;
}

void Messages::receive_into(void* data, int64_t bytes, int from) { begin(receives_, MPI_Irecv, static_cast<char*>(data), bytes, from); }

void Messages::wait(std::vector<Part>& parts, const char* what) {
  const auto done = [](Part& part) {
    int flag = 0;
    MPI_Test(&part.request, &flag, MPI_STATUS_IGNORE);
    return flag != 0;
  };
  size_t next = 0;
  const auto ready = [&] {
    while (next < parts.size() && done(parts[next])) ++next;
    node_.awaits(next < parts.size() ? parts[next].partner : -1);
    return next == parts.size();
  };
  const auto describe = [&] {
    std::set<int> missing;
    for (auto& part : parts)
      if (!done(part)) missing.insert(part.partner);
    std::string names;
    for (const int rank : missing) names += (names.empty() ? "" : ", ") + node_.name(rank);
    return c10::str(what, " ", names);
  };
  node_.peers().await(ready, describe, true);
  parts.clear();
}

void Messages::wait_received() { wait(receives_, "a message from"); }

void Messages::wait_sent() {
  wait(sends_, "a message to");
  buffers_.clear();
}

void Messages::meet(const std::vector<int>& leaders) {
  const auto others = [&](const auto& exchange) {
    for (const int leader : leaders)
      if (leader != node_.outer_rank()) exchange(leader);
  };
  others([this](int leader) { receive(1, leader); });
  others([this](int leader) { send(send_buffer(1), 1, leader); });
  wait_received();
  wait_sent();
}

void Messages::close() { MPI_Comm_free(&comm_); }

}  // namespace fmtrain
