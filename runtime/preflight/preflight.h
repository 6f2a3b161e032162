// The checks before a run on the ranks that it would have: every one of them, one table, one verdict.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/pair_channel.h"
#include "runtime/config/config.h"
#include "runtime/file_ops.h"
#include "runtime/preflight/measure.h"
#include "runtime/preflight/table.h"
#include "runtime/run_lock.h"

namespace fmtrain {

/// What a rank knows of itself and of the launcher.
struct PreflightRank {
  RankPlace place;
  std::string device_fault;    ///< why it has no device, "" if it has one
  std::string config_fault;    ///< why the config cannot be read, "" if it could
  std::string program, libraries;  ///< hashes
  int launched = 0;            ///< processes that the launcher says it started; 0: it does not say
  LockIdentity identity;
  double seconds_left = 0;     ///< of the job; 0: no limit is known
};

struct PreflightOptions {
  int64_t memory = 0;          ///< bytes a rank may take; 0: its share of its machine or GPU
  double expected = 0;         ///< GB/s between hosts; 0: nothing is expected
  double network_seconds = 4;  ///< longest measuring of pairs, to the end of a round
};

/// What other layers do for it.
struct PreflightHelp {
  PairChannel& channel;
  FileOps& files;
  /// The same text on all ranks: "" where each has a device of its own or none has any.
  std::function<std::string(const std::vector<RankPlace>&)> device_fault;
  /// On rank 0, before data are opened (launch/trial_read.h).
  std::function<void(const Config&)> trial_read;
  /// Collective: the communicator of GPUs, where there are any.
  std::function<std::unique_ptr<Communicator>(const Config&)> make_gpu_communicator;
};

/// Collective over `comm`, of host memory. Ranks may differ in everything: that is what is looked for. Changes nothing but the
/// cache, where raw data are prepared. The rows, and so the verdict, are the same on every rank; a check that needs one that
/// failed is not run.
Preflight preflight(const Config& config, Communicator& comm, const PreflightRank& rank, const PreflightOptions& options,
                    const PreflightHelp& help);

}  // namespace fmtrain
