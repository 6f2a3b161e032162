// Everything a run writes and prints, by rank 0: resolved config, step and evaluation logs, progress, model, report.
#pragma once
#include <string>
#include <vector>

#include "runtime/data/plan.h"
#include "runtime/engine/engine.h"
#include "runtime/run_inputs.h"
#include "runtime/train_state.h"
#include "runtime/trainer.h"

namespace fmtrain {

/// Where the time of one step went, seconds.
struct StepTimes {
  double total = 0, compute = 0, data = 0;
};

class RunOutputs {
 public:
  RunOutputs(const Config& config, Communicator& comm, const RunOptions& options);
  std::string checkpoint_dir() const { return dir_ + "/checkpoints"; }
  std::string model_dir() const { return dir_ + "/model"; }
  bool has_model() const;
  /// One paragraph about the run, and config.yaml.
  void describe(const RunInputs& inputs, const std::vector<ParameterGroup>& groups, const StepPlan& plan, int64_t steps);
  /// Logs go on after `state`: later lines are cut off.
  void resumed(const TrainState& state);
  void step(const TrainState& state, const Step& step, const StepResult& result, double lr, const StepTimes& times, int64_t total_steps);
  void warn(const std::string& text);
  void evaluation(const TrainState& state, const std::string& split, const Json& result, bool best);
  bool has_before() const { return !before_.is_null(); }
  void before(Json result);
  void write_model(RunInputs& inputs, const TrainState& state);
  void report(RunInputs& inputs, const TrainState& state, const Json& after);

 private:
  bool main() const { return comm_.rank() == 0; }
  void say(const std::string& text);
  Json report_json(RunInputs& inputs, const TrainState& state, const Json& after) const;
  const Config& config_;
  Communicator& comm_;
  const RunOptions& options_;
  std::string dir_;
  Json before_;
  double first_step_ = 0, last_line_ = 0, communication_ = 0, optimizer_ = 0, data_ = 0, compute_ = 0;
  bool on_terminal_ = false;
};

}  // namespace fmtrain
