// One contract for every Communicator. Each backend's program defines backends(); comm_contract.cpp holds the tests.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace fmtrain {

struct Backend {
  std::string name;  ///< letters, digits and underscores
  /// Runs body on every rank of a world. Under MPI this process is one rank of it.
  std::function<void(const std::function<void(Communicator&)>&)> run;
  at::DeviceType device = at::kCPU;
  /// As run, but in a communicator of its own, which the body may leave unusable. Empty: cannot be had.
  std::function<void(const std::function<void(Communicator&)>&)> run_to_ruin = {};
  bool foreign_memory = true;
};

std::vector<Backend> backends();

}  // namespace fmtrain
