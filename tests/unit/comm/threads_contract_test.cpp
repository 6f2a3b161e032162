// The contract on the world of one, on ranks as threads, and on such that keep a journal.
#include "tests/multirank/comm_contract.h"
#include "comm/recording_communicator.h"
#include "comm/thread_communicator.h"

namespace fmtrain {

std::vector<Backend> backends() {
  std::vector<Backend> all;
  const auto single = [](const auto& body) { body(*make_single_communicator()); };
  all.push_back({.name = "single", .run = single, .run_to_ruin = single});
  for (const int size : {1, 2, 3, 4, 5, 8}) {
    const auto threads = [size](const auto& body) { run_ranks(size, body); };
    all.push_back({.name = "threads_" + std::to_string(size), .run = threads, .run_to_ruin = threads});
  }
  const auto nodes = [](const auto& body) { run_ranks(5, body, 2); };
  all.push_back({.name = "threads_on_nodes", .run = nodes, .run_to_ruin = nodes});
  const auto recorded = [](const auto& body) {
    run_ranks(3, [&](Communicator& comm) {
      Journal journal{};
      body(*make_recording_communicator(comm, journal));
    });
  };
  all.push_back({.name = "recorded_3", .run = recorded, .run_to_ruin = recorded});
  return all;
}

}  // namespace fmtrain
