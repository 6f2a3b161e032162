// The real file system whose system calls can be made to fail, below the retries of runtime/file_ops.cpp. A program that uses this
// is linked with the --wrap options in tests/fault.cmake; there, fsync does nothing, which makes it fast.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "tests/unit/checkpoint/forwarding_files.h"

namespace fmtrain {

/// What happens to a call. kShort: a write writes half and says so. kFullDisk: this call and all later ones fail, except a close,
/// which closes. kKill: the process ends in the middle of this call; no call of any SystemFaults does anything until revive().
enum class Fault { kEio, kEnospc, kEintr, kShort, kFullDisk, kKill };

class SystemFaults final : public ForwardingFiles {
 public:
  ~SystemFaults() override;
  /// Call `first` from now on, counted from 1, meets its fate. One rank's calls follow each other, in whatever threads.
  void fail_at(int64_t first, Fault fault);
  bool failed() const { return !call_.empty(); }
  const std::string& call() const { return call_; }  ///< that failed: "fsync", ...
  const std::string& path() const { return path_; }  ///< of its file; where a rename begins
  int earlier() const { return earlier_; }           ///< calls of the same kind for the same path before it
  static void revive();

  /// Asked by every wrapped call: an errno value it must fail with, 0: none. `shorter`: a write writes half.
  int next_call(const char* call, const std::string& path, bool* shorter);

 protected:
  FileOps& next() override;

 private:
  int64_t first_ = 0, calls_ = 0;
  Fault fault_ = Fault::kEio;
  std::string call_, path_;
  int earlier_ = 0;
  std::map<std::string, int> seen_;
};

}  // namespace fmtrain
