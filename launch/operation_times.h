// Where the time goes inside LibTorch and this program's own operations.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace fmtrain {

/// While one lives: seconds of each operation that LibTorch records on this thread, by name, without those of the operations it calls
/// itself. One at a time; the recording costs about a microsecond an operation.
class OperationTimes {
 public:
  OperationTimes();
  ~OperationTimes();
  OperationTimes(const OperationTimes&) = delete;
  OperationTimes& operator=(const OperationTimes&) = delete;
  /// Share of the whole time, largest first.
  std::vector<std::pair<std::string, double>> shares() const;

 private:
  uint64_t handle_;
};

}  // namespace fmtrain
