// `fmtrain continual init | check | run` on rank 0: what is done next, by which reasons. Everything that is found out stands in the
// registry, so a command that was killed is given again.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/continual/cycle.h"
#include "runtime/continual/text_store.h"
#include "runtime/errors.h"

namespace fmtrain {

class Crew;
struct CyclePlan;  // challenger_work.h

/// What a command says and ends with.
struct ContinualAnswer {
  Json facts = Json::object();
  ExitCode code = ExitCode::kOk;
};

struct ContinualClock {
  std::function<int64_t()> now;  ///< seconds since 1970, UTC
  LockIdentity me;
  std::string program;           ///< its version, for lineages
  std::function<void(const std::string&)> say = [](const std::string&) {};  ///< a line of what is being done
};

class ContinualRunner {
 public:
  /// Holds the lock of the registry's cycles from here on: Error with kLocked where another process does. ConfigError for
  /// slices that are none. The config has a registry.
  ContinualRunner(const Config& config, Crew& crew, ContinualClock clock);

  /// The first version: the model of the config's run in `run_dir`, which is trained now where it is not complete, or `model`, a directory that
  /// fmtrain wrote. Its training, validation and test sets become the first texts of the store. Nothing to do where there is a
  /// champion.
  ContinualAnswer init(const std::string& model, const std::string& run_dir);

  /// Takes new files, tests the newest window for drift. {"champion", "taken": [...], "refused": [...], "new_labelled", "drift":
  /// drift_json, "accuracy"}; code 10 drift, 11 insufficient data, else 0.
  ContinualAnswer check();

  struct Request {
    bool now = false;          ///< by hand: passes every brake but the weekly limits
    std::string abandon;       ///< not empty: why the unfinished cycle is given up; nothing else is done
  };
  /// Goes on with an unfinished cycle, else checks and, where a trigger asks for one and no brake holds, does a whole cycle.
  /// {"did": "nothing" | "cycle" | "abandoned", "why", "check", "cycle": {...}}. Code 75: asked to stop within a cycle.
  ContinualAnswer run(const Request& request);

 private:
  struct Window;
  int64_t champion() const;
  CyclePlan plan_of_version(int64_t version) const;
  Window look();
  std::vector<RawText> window_of(Window& window, const std::vector<StoredBatch>& batches) const;
  ContinualAnswer answer_of(const Window& window);
  void test(Window& window, const std::vector<RawText>& reference, const std::vector<RawText>& texts);
  CycleState begin(TriggerKind kind, const Window& window, int64_t now);
  bool starts_from_base(const std::vector<CycleState>& cycles) const;
  ContinualAnswer finish(CycleState state, Json facts);
  void tidy();
  void draw();
  std::string write_texts(const char* name, std::vector<RawText> texts);
  const Config& config_;
  Crew& crew_;
  ContinualClock clock_;
  Registry registry_;
  TextStore store_;
  std::string incoming_;
  std::unique_ptr<RunLock> lock_;
  std::optional<Cycles> cycles_;
};

}  // namespace fmtrain
