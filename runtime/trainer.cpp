#include "runtime/trainer.h"

#include <ATen/ATen.h>

#include "comm/gpu.h"
#include "comm/journal.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/restarts.h"
#include "runtime/data/loader.h"
#include "runtime/data/plan.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/schedule.h"
#include "runtime/evaluator.h"
#include "runtime/finite_check.h"
#include "runtime/leaf_check.h"
#include "runtime/ledger.h"
#include "runtime/metrics/metric.h"
#include "runtime/model_dir.h"
#include "runtime/out_of_memory.h"
#include "runtime/replicas.h"
#include "runtime/rooted_files.h"
#include "runtime/run_inputs.h"
#include "runtime/run_outputs.h"
#include "runtime/stragglers.h"
#include "runtime/train_state.h"
#include "runtime/unfreeze.h"

namespace fmtrain {
namespace {

constexpr const char* kRepair = "; repair the storage and start the same command again: it goes on from the last checkpoint";
constexpr const char* kNothingToOffload =
    "engine.offload: optimizer moves what is on a GPU to host memory, but there is no GPU here; remove it, or set engine.zero to share out optimizer state";
constexpr int64_t kStepsBetweenComparisons = 1000, kStepsBetweenClocks = 10;
constexpr double kUntimedRate = 200e6;  ///< bytes/s at which a rank is taken to save while no save was timed

/// Seconds a save of this rank's share may take, when none has been timed yet.
double untimed_save(const StateDict& state) {
  double bytes = 0;
  for (const auto& piece : state.pieces) bytes += static_cast<double>(piece.data.nbytes());
  return bytes / kUntimedRate;
}

/// Ranks of one kind compute the same bits.
std::string kind_of(const RunOptions& options) {
  const at::Device device(options.device);
  const std::string gpu = device.is_cpu() ? "" : visible_gpus().at(static_cast<size_t>(device.index())).name;
  return gpu + '/' + options.versions.value("processor", "") + '/' + std::to_string(options.threads);
}

class Trainer {
 public:
  Trainer(const Config& config, Communicator& comm, const RunOptions& options)
      : config_(config), comm_(comm), options_(options), outputs_(config, comm, options), inputs_(load_inputs(config, comm, at::Device(options.device), base_of(config, options.device != "cpu"))),
        plan_(inputs_.train->lengths(), inputs_.train->valid_targets(), config.run.seed, config.batch, config.data.order),
        total_steps_(plan_.total_steps(config.schedule)), groups_(apply_freeze(config.finetune, *inputs_.model)),
        unfreezing_(unfreeze_schedule(config.finetune, *inputs_.model, plan_.steps_per_epoch())),
        shards_(comm, config.engine.zero > 0 ? config.engine.shard_group : ShardGroup::kWorld, options.host),
        engine_(make_engine()), files_(posix_files(), outputs_.checkpoint_dir()),
        checkpoints_(outputs_.checkpoint_dir(), files_, comm, config.checkpoint.keep, outputs_.lock()), stragglers_(comm, options.host),
        leaf_check_(comm, options.host, kind_of(options)) {
    check_ranks(config.batch, comm.size());
  }

  /// After a shortage: batch.micro that would have fitted (out_of_memory.h).
  int64_t micro_that_fits() const {
    const int ranks_per_node = std::max(1, comm_.size() / options_.hosts);
    const bool gpu = options_.device != "cpu";
    return fitting_micro(memory_needs(config_, inputs_, comm_.size(), ranks_per_node, gpu), setting_of(config_),
                         memory_of_rank(gpu, ranks_per_node).bytes);
  }

  ExitCode run() {
    outputs_.describe(inputs_, groups_, plan_, total_steps_, unfreeze_text(unfreezing_, total_steps_));
    resume();
    if (!done()) checkpoints_.must_fit(engine_->state());
    untimed_save_ = untimed_save(engine_->state());
    if (!done()) count_restart(posix_files(), config_.run.dir, comm_, state_.step, options_.resume);
    outputs_.begin(state_, total_steps_);
    evaluate_before();
    const bool complete = train_steps();
    if (!complete) {
      outputs_.stopped(state_);
      return ExitCode::kRequeue;
    }
    finish();
    return ExitCode::kOk;
  }

 private:
  std::unique_ptr<Engine> make_engine() {
    const int64_t stage = config_.engine.zero;
    const bool exact = config_.numerics.exact;
    const double l2_start = config_.finetune.l2_start;
    const bool offload = config_.engine.offload == Offload::kOptimizer;
    if (offload && options_.device == "cpu") throw ConfigError(kNothingToOffload);
    EncoderFill fill;
    if (base_of(config_, options_.device != "cpu") == Base::kLater) fill = [this](int index, int of) { load_base(inputs_, config_, comm_, {index, of}); };
    if (stage == 0) return make_replicated_engine(*inputs_.model, comm_, config_.optimizer, exact, l2_start, offload, fill);
    if (stage == 3 && options_.device != "cpu") throw ConfigError("engine.zero: 3 needs ranks that share memory; on GPUs use 2");
    return make_sharded_engine(*inputs_.model, shards_, config_.optimizer, static_cast<int>(stage), exact, l2_start, offload, fill);
  }

  bool done() const { return state_.step >= total_steps_ || state_.stopped_early; }

  void enter(const char* phase) const {
    if (options_.status) *options_.status = {phase, state_.step};
  }

  /// For evaluate(): a batch is done, or all are and figures are computed.
  BatchDone tick() const {
    return [this](bool last) { enter(last ? "metrics" : "evaluate"); };
  }

  void resume() {
    enter("load");
    if (!options_.resume) return;
    const auto loaded = checkpoints_.load_newest(engine_->targets(), fixed());
    if (!loaded) return;
    engine_->load_state(loaded->at("engine"));
    state_ = TrainState::from_json(loaded->at("trainer"));
    checkpoints_.prune(state_.best_step);
  }

  Json fixed() const { return fingerprint(config_, inputs_, options_.device); }

  void evaluate_before() {
    const double start = steady_seconds();
    if (!outputs_.has_before()) {
      Json result;
      with_evaluated_weights([&] { result = evaluate_splits(); });
      outputs_.before(std::move(result), steady_seconds() - start);
    }
    if (state_.step > 0) return;
    for (const auto& [split, result] : outputs_.before().items()) outputs_.evaluation(0, split, result, "  (before)");
  }

  /// With evaluate.weights: ema, the average stands in the parameters' place meanwhile. What is thrown meanwhile ends the run, so
  /// nothing is put back then: that would need the other ranks.
  void with_evaluated_weights(const std::function<void()>& use) {
    const bool average = config_.evaluate.weights == Weights::kEma;
    if (average) settle_save();
    if (average) engine_->swap_average();
    use();
    if (average) engine_->swap_average();
  }

  Json evaluate_splits() {
    enter("evaluate");
    Json result = Json::object();
    if (inputs_.validation) result["validation"] = evaluate(*inputs_.model, *inputs_.validation, comm_, config_.report.bootstrap, tick());
    if (inputs_.test) result["test"] = evaluate(*inputs_.model, *inputs_.test, comm_, config_.report.bootstrap, tick());
    return result;
  }

  /// What one more step and the save at the end may take.
  double seconds_to_stop() const { return last_step_ + 2 * longest_save_.value_or(untimed_save_); }

  /// Runs until the plan ends, patience ends, or someone asks to stop (false).
  bool train_steps() {
    int64_t next_read = state_.step;
    Loader loader(*inputs_.train, [this, at = next_read, leaf = size_t{0}, ids = std::vector<std::vector<int64_t>>{}]() mutable {
      return next_leaf(at, leaf, ids);
    });
    mark_ = save_began_ = steady_seconds();
    while (!done()) {
      const StepResult result = one_step(loader);
      follow_save(false);
      if (!result.stop || done()) continue;
      save();
      follow_save(true);
      if (failed_saves_ > 0) throw StorageError("asked to stop, but the state could not be saved: " + save_fault_ + kRepair);
      return false;
    }
    return true;
  }

  /// This rank's leaves, one after the other, over all remaining steps; called by the loader's thread.
  std::optional<std::vector<int64_t>> next_leaf(int64_t& step, size_t& leaf, std::vector<std::vector<int64_t>>& ids) const {
    while (leaf >= ids.size()) {
      if (step >= total_steps_) return std::nullopt;
      ids = leaves_of_this_rank(plan_.step(step++));
      leaf = 0;
    }
    return ids[leaf++];
  }

  std::vector<std::vector<int64_t>> leaves_of_this_rank(const Step& step) const {
    const auto [first, last] = leaves_of(comm_.rank(), comm_.size(), plan_.leaves());
    std::vector<std::vector<int64_t>> mine(step.leaves.begin() + first, step.leaves.begin() + last);
    std::erase_if(mine, [](const auto& leaf) { return leaf.empty(); });
    return mine;
  }

  StepResult one_step(Loader& loader) {
    enter("train");
    const Booking booking(Purpose::kActivations);
    const double start = mark_, waited = loader.waited();
    const Step step = plan_.step(state_.step);
    const double lr = learning_rate(config_.schedule, config_.optimizer.lr, state_.step, total_steps_);
    const auto present = static_cast<int64_t>(leaves_of_this_rank(step).size());
    const auto duty = leaf_duty(step);
    if (config_.finetune.unfreeze_every) engine_->train_down_to(trained_depth(config_.finetune, state_.step, plan_.steps_per_epoch()));
    engine_->begin_step({plan_.leaves(), leaves_of(comm_.rank(), comm_.size(), plan_.leaves()).first, present,
                         static_cast<double>(std::max<int64_t>(step.valid_targets, 1)), duty ? duty->slot : -1});
    int64_t tokens = 0;
    for (int64_t leaf = 0; leaf < present; ++leaf) {
      const auto batch = loader.next();
      tokens += batch->positions.numel();
      engine_->backward(loss_of(*batch), leaf + 1 == present);
    }
    const LeafDigest again = duty ? digest_of(*duty, step) : LeafDigest{};
    const double computed = steady_seconds();
    const double settling = settle_save();
    const StepResult result = engine_->step(lr, options_.stop_requested && options_.stop_requested(seconds_to_stop()));
    if (duty) leaf_check_.compare(*duty, engine_->watched(), again);  // before anything of this update is saved
    outputs_.judge(state_.step + 1, step, result, inputs_.train->texts());
    if (const auto skipped = check_finite(result, step, state_); !skipped.empty()) outputs_.warn(skipped);
    ++state_.step;
    state_.samples += step.samples;
    state_.tokens += step.tokens;
    mark_ = steady_seconds();
    last_step_ = mark_ - start - settling;
    state_.seconds += last_step_;
    const double computing = computed - start - (loader.waited() - waited);
    outputs_.step(state_, step, result, lr, {last_step_, computing, loader.waited() - waited});
    if (const auto slow = stragglers_.step(tokens, computing); !slow.empty()) outputs_.warn(slow);
    if (state_.step % kStepsBetweenComparisons == 0) compare_replicas();
    if (boundary()) mark_ = steady_seconds();
    return result;
  }

  Loss loss_of(const Batch& batch) const {
    return inputs_.model->loss(to(batch, at::Device(options_.device)), Pass{true, config_.run.seed, state_.step});
  }

  /// Of the step before every comparison of replicas and every planned save. Without numerics.exact nothing promises equal bits.
  std::optional<LeafDuty> leaf_duty(const Step& step) const {
    const int64_t next = state_.step + 1;
    if (!config_.numerics.exact || (next % kStepsBetweenComparisons != 0 && !due(config_.checkpoint.every, next))) return {};
    const auto present = std::count_if(step.leaves.begin(), step.leaves.end(), [](const auto& ids) { return !ids.empty(); });
    return leaf_check_.duty(state_.step, plan_.leaves(), present);
  }

  /// Before the update, for it depends on the parameters.
  LeafDigest digest_of(const LeafDuty& duty, const Step& step) {
    if (comm_.rank() != duty.checker) return {};
    return engine_->digest(loss_of(inputs_.train->get(step.leaves[static_cast<size_t>(duty.slot)])));
  }

  bool at(const Every& every) const { return due(every, state_.step); }

  bool due(const Every& every, int64_t step) const {
    const int64_t interval = every.steps > 0 ? every.steps : plan_.steps_per_epoch();
    return step % interval == 0 || step == total_steps_;
  }

  /// What happens between two steps: evaluation, then a checkpoint that knows its result. False: nothing was due.
  bool boundary() {
    const bool evaluates = at(config_.evaluate.every);
    if (evaluates) with_evaluated_weights([this] { evaluate_now(); });
    const bool saves = at(config_.checkpoint.every) || done() || overdue();
    if (saves) save();
    return evaluates || saves;
  }

  /// No more than checkpoint.seconds of work is at stake, however long an epoch is. The ranks agree, for their clocks do not.
  bool overdue() {
    if (state_.step % kStepsBetweenClocks != 0) return false;
    return largest(comm_, steady_seconds() - save_began_ > config_.checkpoint.seconds ? 1 : 0) == 1;
  }

  void evaluate_now() {
    enter("evaluate");
    bool best = !inputs_.validation;
    if (inputs_.validation) {
      const Json result = evaluate(*inputs_.model, *inputs_.validation, comm_, 0, tick());
      const double value = metric_value(result, config_.evaluate.metric);
      best = state_.record(value, larger_is_better(config_.evaluate.metric), config_.evaluate);
      outputs_.evaluation(state_.step, "validation", result, best ? "  (best)" : "");
    }
    if (best && (inputs_.validation || done())) save_model();
  }

  void save_model() {
    enter("checkpoint");
    outputs_.write_model(inputs_, state_);
    comm_.barrier();
  }

  /// Ends the save before, then saves: with checkpoint.async behind the next steps.
  void save() {
    enter("checkpoint");
    follow_save(true);
    const double start = save_began_ = steady_seconds();
    outputs_.sync();
    compare_replicas();
    const StateDict state = engine_->state();
    const Json small{{"engine", state.small}, {"trainer", state_.to_json()}};
    if (config_.checkpoint.async) checkpoints_.begin_save(state_.step, state, small, fixed(), state_.best_step);
    else save_ended(checkpoints_.save(state_.step, state, small, fixed(), state_.best_step, &save_fault_));
    outputs_.save_stalled(steady_seconds() - start);
  }

  /// Where there are several copies of all parameters they must be the same: a rank whose memory went bad is named, and never saved.
  void compare_replicas() {
    if (config_.engine.zero == 0 || shards_.copies() > 1) check_replicas(inputs_.model->parameters(), comm_, options_.host);
  }

  /// Before the state changes: of an update, which every rank begins once all have agreed on it, each changes its own part. Seconds.
  double settle_save() {
    const double seconds = checkpoints_.settle();
    outputs_.save_stalled(seconds);
    return seconds;
  }

  /// What became of the save in flight, if that is known by now; `wait`: in any case.
  void follow_save(bool wait) {
    const double start = steady_seconds();
    const bool saving = checkpoints_.saving();
    if (const auto saved = checkpoints_.advance_save(wait, &save_fault_)) save_ended(*saved);
    if (saving) outputs_.save_stalled(steady_seconds() - start);
  }

  void save_ended(bool saved) {
    const double seconds = checkpoints_.save_seconds();
    outputs_.save_ended(saved, seconds);
    failed_saves_ = saved ? 0 : failed_saves_ + 1;
    if (saved) longest_save_ = std::max(longest_save_.value_or(0), seconds);
    else outputs_.warn(save_fault_);
    if (failed_saves_ >= 3) throw StorageError(save_fault_);
  }

  /// The best model again, its evaluation, and the report.
  void finish() {
    if (!outputs_.has_model()) with_evaluated_weights([this] { save_model(); });
    enter("load");
    settle_save();
    comm_.barrier();  // every rank writes all parameters, also where others read theirs
    load_weights(*inputs_.model, outputs_.model_dir());
    inputs_.model->parameters_changed();
    const Json after = evaluate_splits();
    enter("report");
    follow_save(true);
    outputs_.report(inputs_, state_, after);
    if (failed_saves_ > 0) throw StorageError("the model and the report are complete, but the last checkpoint is not: " + save_fault_ + kRepair);
  }

  const Config& config_;
  Communicator& comm_;
  const RunOptions& options_;
  RunOutputs outputs_;
  RunInputs inputs_;
  StepPlan plan_;
  int64_t total_steps_;
  std::vector<ParameterGroup> groups_;
  std::vector<Unfreezing> unfreezing_;
  ShardGroups shards_;
  std::unique_ptr<Engine> engine_;
  RootedFiles files_;  ///< of checkpoints_
  CheckpointStore checkpoints_;
  Stragglers stragglers_;
  LeafCheck leaf_check_;
  TrainState state_;
  int failed_saves_ = 0;  ///< in a row
  std::string save_fault_;
  double last_step_ = 0, save_began_ = 0, untimed_save_ = 0;  ///< seconds
  std::optional<double> longest_save_;                        ///< seconds, once one was timed
  double mark_ = 0;  ///< when the last step ended: a step's time is that to its own end, so logging counts
};

}  // namespace

ExitCode train(const Config& config, Communicator& comm, const RunOptions& options) {
  Trainer trainer(config, comm, options);
  try {
    return trainer.run();
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
    throw ConfigError(out_of_memory_text(error, config, trainer.micro_that_fits()));  // while the data are there, whose lengths count
  }
}

}  // namespace fmtrain
