// Everything a run writes and prints: resolved config, step and evaluation logs, progress, model, report. Files and lines are
// rank 0's; other ranks only speak when something is wrong.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/data/plan.h"
#include "runtime/engine/engine.h"
#include "runtime/report/console.h"
#include "runtime/report/progress.h"
#include "runtime/report/run_log.h"
#include "runtime/run_inputs.h"
#include "runtime/run_lock.h"
#include "runtime/spikes.h"
#include "runtime/train_state.h"
#include "runtime/trainer.h"

namespace fmtrain {

/// Where the time of one step went, seconds.
struct StepTimes {
  double total = 0, compute = 0, data = 0;
};

/// What engine.precision costs on `processor` ("processor" of RunOptions::versions) where another one is faster; else "".
std::string precision_warning(Precision precision, const std::string& processor);

class RunOutputs {
 public:
  /// Collective. Makes the run directory, takes its lock (Error with kLocked, on every rank, when another run has it), writes
  /// config.yaml; `options.resume` false empties it of an earlier run. The phase is "init" until the directory is this run's, then "load".
  RunOutputs(const Config& config, Communicator& comm, const RunOptions& options);
  ~RunOutputs();
  RunLock* lock() const { return lock_.get(); }  ///< null on all ranks but 0
  std::string checkpoint_dir() const { return dir_ + "/checkpoints"; }
  std::string model_dir() const { return dir_ + "/model"; }
  bool has_model() const;
  /// One paragraph about the run; `unfreezing`: what is trained when, if not all is from the start.
  void describe(const RunInputs& inputs, const std::vector<ParameterGroup>& groups, const StepPlan& plan, int64_t steps,
                const std::string& unfreezing);
  /// Opens the logs. They go on after `state`: later lines are cut off.
  void begin(const TrainState& state, int64_t total_steps);
  void stopped(const TrainState& state);  ///< `state` is saved, and the run will go on from it
  void step(const TrainState& state, const Step& step, const StepResult& result, double lr, const StepTimes& times);
  /// Says when the loss or norm of update number `number` (from 1) stands out, and writes that or a loss that is not finite to
  /// warnings.jsonl, with the update's samples. `texts`: of all samples of the training data.
  void judge(int64_t number, const Step& step, const StepResult& result, std::span<const int32_t> texts);
  void warn(const std::string& text);  ///< of what all ranks know alike: said once
  /// Training waited `seconds` for a checkpoint; a save has ended that took `seconds`.
  void save_stalled(double seconds) { saves_.stall_seconds += seconds; }
  void save_ended(bool saved, double seconds);
  void evaluation(int64_t step, const std::string& split, const Json& result, const char* note);
  /// The evaluation before the first step, kept for the report: {split: evaluation}. It took `seconds` of this start.
  bool has_before() const { return !before_.is_null(); }
  void before(Json result, double seconds);
  const Json& before() const { return before_; }
  /// What the logs say is on disk: no checkpoint is ever ahead of them.
  void sync();
  /// Collective. Rank 0 writes model/; Error with kLocked, on every rank, when the directory is another run's by now, as below.
  void write_model(RunInputs& inputs, const TrainState& state);
  /// Collective. report.json, report.txt, report.html; `after` as before().
  void report(RunInputs& inputs, const TrainState& state, const Json& after);

 private:
  bool main() const { return comm_.rank() == 0; }
  void say(const std::string& text);
  void say_scale(const TrainState& state, const StepResult& result);
  void must_own() const;
  void take_directory();
  void make_directory();
  const Config& config_;
  Communicator& comm_;
  const RunOptions& options_;
  std::string dir_;
  std::unique_ptr<RunLock> lock_;
  Json before_;
  std::shared_ptr<spdlog::logger> console_;
  std::unique_ptr<ProgressLine> progress_;
  std::unique_ptr<RunLog> log_;
  Spikes spikes_;
  double before_seconds_ = 0, first_step_ = 0;
  StepRecord sums_;  ///< seconds of all steps of this start
  SaveTimes saves_;
};

}  // namespace fmtrain
