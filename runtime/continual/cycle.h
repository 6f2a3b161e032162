// One round of continual fine-tuning as a state machine on disk: cycles/000007/state.json of a registry.
//
//   triggered -> data-frozen -> trained -> evaluated -> decided -> published
//
// A stage is entered by replacing state.json, after its work is done and fsynced. A kill in between repeats that work only, so
// each part of CycleWork must be idempotent: called twice with the same state, it leaves the same files and returns the same
// record, whatever others did to the aliases meanwhile. Time, randomness and what it finds in a changing
// directory belong into the record of an earlier stage.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/continual/registry.h"
#include "runtime/continual/triggers.h"
#include "runtime/json.h"

namespace fmtrain {

enum class CycleStage { kTriggered, kDataFrozen, kTrained, kEvaluated, kDecided, kPublished };
const char* cycle_stage_name(CycleStage stage);  ///< as above

struct CycleState {
  int64_t number = 0;  ///< from 1, without gaps
  CycleStage stage = CycleStage::kTriggered;
  int64_t version = 0;  ///< of the registry, kept for the challenger
  int64_t fence = 0;    ///< of who wrote it last
  int64_t started = 0;  ///< seconds since 1970
  /// What each stage that was reached left: {"triggered": {...}, "data-frozen": {...}, ...}. decided holds "verdict" as
  /// gate_verdict_name, trained may hold "gpu_hours".
  Json records = Json::object();
};

/// ConfigError where parse_cycle would not take it: what a later run cannot read is not written.
std::string print_cycle(const CycleState& state);
/// Throws std::runtime_error that says what is wrong.
CycleState parse_cycle(const Json& record);

/// The work of the stages; `directory` is the cycle's own, where it keeps what it made. Each returns the record of the stage
/// that is reached by it.
class CycleWork {
 public:
  virtual ~CycleWork() = default;
  virtual Json freeze(const CycleState& state, const std::string& directory) = 0;    ///< choose and store the examples
  virtual Json train(const CycleState& state, const std::string& directory) = 0;     ///< the challenger
  virtual Json evaluate(const CycleState& state, const std::string& directory) = 0;  ///< both models, on test sets and slices
  virtual Json decide(const CycleState& state, const std::string& directory) = 0;    ///< the gate; has "verdict"
  virtual Json publish(const CycleState& state, const std::string& directory) = 0;   ///< add to the registry, change aliases
};

/// The cycles of a registry, by who holds the lock of its directory cycles/: for hours, while the registry's own lock is held around
/// each change of the aliases only, so that a person can roll back meanwhile.
class Cycles {
 public:
  Cycles(Registry& registry, Fence fence) : registry_(registry), fence_(std::move(fence)) {}

  /// The temporaries that a killed owner of the lock left beside files that are replaced under it, as far as possible. Only for
  /// its new owner, before it writes.
  void remove_leftovers() const;

  /// Oldest first. CheckpointError where one is damaged.
  std::vector<CycleState> all() const;
  static std::vector<PastCycle> history(const std::vector<CycleState>& cycles);
  /// The one that was begun and not published; at most one is.
  std::optional<CycleState> unfinished() const;

  /// A new one, in stage triggered. std::logic_error while another is unfinished.
  CycleState begin(const Json& trigger, int64_t version, int64_t now);
  /// Does the work that is left, up to published. Throws Error with kLocked when the lock was lost: nothing more is written.
  CycleState finish(CycleState state, CycleWork& work);
  /// Ends one that fails again and again, as published with the verdict "abandoned": what it made stays unused.
  CycleState abandon(CycleState state, const std::string& reason);
  int64_t highest_fence() const;  ///< ever written into a state; 0: none

  std::string directory(int64_t number) const;

 private:
  std::optional<CycleState> stored(int64_t number) const;
  void save(const CycleState& state) const;
  Registry& registry_;
  Fence fence_;
};

}  // namespace fmtrain
