// The work of a cycle (cycle.h) on a real model: freeze the data, train the challenger, test both models, judge, publish. Rank 0's;
// it orders the others through the crew. In the directory of its cycle:
//
//   train.*, rolling.*, core.*, data.manifest, replay.manifest   cycle_data.h
//   run/           the training, a run directory as any other; checkpoints and model go once the cycle is published
//   counts.json    what each text adds to the gate's metric, for both models; sealed
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/continual/crew.h"
#include "runtime/continual/cycle.h"
#include "runtime/run_lock.h"

namespace fmtrain {

class TextStore;          // text_store.h
struct CycleDataOptions;  // cycle_data.h

/// Asked to stop within the cycle: the state is saved, exit 75. Not an error.
struct StoppedInCycle {};

/// What a trigger's record says, the part of it that later stages read.
struct CyclePlan {
  int64_t first = 0, last = 0;  ///< batches (first, last] of the store are this cycle's
  int64_t parent = 0;           ///< champion when it began: what the challenger is compared with
  bool from_base = false;       ///< trained from the base model on all texts, not from the champion
  std::string program;          ///< version of the program that began it
};
Json plan_json(const CyclePlan& plan);  ///< members to be added to the trigger's record
CyclePlan plan_of(const CycleState& state);

/// Scores on the cycle's tests (its record "tests") of the version that was in use after cycles[i]: that which the next cycle
/// challenged, or `champion` after the last; {} where that is neither of the two that the cycle compared. A challenger may have been
/// promoted by hand.
Json scores_in_use_after(const std::vector<CycleState>& cycles, size_t i, int64_t champion);

/// With the labels that version `champion` knows.
CycleDataOptions cycle_data_options(const Config& config, const CyclePlan& plan, const Registry& registry, int64_t champion);

/// Throws what its parts throw, and StoppedInCycle.
class ChallengerWork : public CycleWork {
 public:
  ChallengerWork(Registry& registry, TextStore& store, Crew& crew, LockIdentity me)
      : registry_(registry), store_(store), crew_(crew), me_(std::move(me)) {}

  Json freeze(const CycleState& state, const std::string& directory) override;
  /// {"weights_sha256", "gpu_hours"}
  Json train(const CycleState& state, const std::string& directory) override;
  /// {"counts_sha256", "tests": {name: {"texts", "champion", "challenger"}}, "ece", "temperature", "latency_ms", "size_mb",
  /// "within_budget", "leaked", "forgetting"}. Tests: core, rolling, and those of at most 8 earlier cycles, rolling-000001.
  Json evaluate(const CycleState& state, const std::string& directory) override;
  Json decide(const CycleState& state, const std::string& directory) override;
  /// {"promoted"}. A challenger that was compared with another model than today's champion is not promoted.
  Json publish(const CycleState& state, const std::string& directory) override;

 private:
  std::string path(const std::string& directory, const char* name) const;
  std::vector<std::pair<std::string, std::string>> tests(const CycleState& state, const std::string& directory) const;
  double forgetting(const CycleState& state, const Json& tests) const;
  Registry& registry_;
  TextStore& store_;
  Crew& crew_;
  LockIdentity me_;
};

}  // namespace fmtrain
