// The drift tests that were made of a registry's champions: drift.jsonl, a sealed line each. What counts as two windows in a row is
// decided from it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/continual/registry.h"

namespace fmtrain {

struct DriftRecord {
  int64_t time = 0;      ///< seconds since 1970
  int64_t champion = 0;  ///< version that was tested
  int64_t texts = 0;     ///< of the window
  int64_t first_batch = 0, last_batch = 0;  ///< of the store, that the window's texts are of
  std::string window_sha256;  ///< of the hashes of its texts, sorted
  double p = 1, severity = 0;
  bool drifted = false;  ///< this window alone
  bool dropped = false;  ///< estimated performance (DriftReport::dropped)
  std::string verdict;   ///< drift_verdict_name
};

/// CheckpointError where the file is damaged.
std::vector<DriftRecord> drift_history(const Registry& registry);
/// By whoever holds the lock of the cycles. One that equals the last in everything but its time is not added again.
void add_drift_record(Registry& registry, const DriftRecord& record);

/// Whether the `consecutive` - 1 windows before a window whose oldest text is of `first_batch` all drifted. Only windows of the same
/// champion count, and only such as share no batch with the next one: windows that overlap are one observation.
bool drifted_before(const std::vector<DriftRecord>& history, int64_t champion, int64_t first_batch, int64_t consecutive);

}  // namespace fmtrain
