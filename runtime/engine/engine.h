// From the losses of one rank's leaves to one update of the model. The stage is chosen by constructing an engine; nobody else
// asks for it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "models/task_model.h"
#include "runtime/checkpoint/state_dict.h"
#include "runtime/config/config.h"
#include "runtime/engine/shard_groups.h"

namespace fmtrain {

/// This rank's part of one step: slots [first, last) of `slots`, of which the first `present` hold samples.
struct StepShape {
  int64_t slots = 1, first = 0, present = 0;
  double divisor = 1;  ///< valid targets of the whole step: losses are sums and are divided by it
  int64_t watched = -1;  ///< slot of a leaf whose digest is kept; -1: none
};

/// The result of one leaf, as far as its bits can be compared.
struct LeafDigest {
  double loss = 0;       ///< sum
  std::string gradient;  ///< XXH3-128 over the hashes of all tensors' gradients; "": none
};

struct StepResult {
  double loss = 0;           ///< mean over the step's valid targets, leaf sums added in slot order; the same bits on every rank
  double grad_norm = 0;      ///< of the mean loss, before clipping
  bool applied = false;      ///< false: loss or norm was not finite, nothing changed on any rank
  std::vector<int64_t> bad_leaves;  ///< slots of leaves whose loss is not finite, on whatever rank
  double loss_scale = 1;     ///< what this step's gradient was multiplied with (fp16)
  double next_loss_scale = 1;
  bool overflow = false;     ///< not applied because of loss_scale: the loss is finite, and the scale can still be halved
  bool stop = false;         ///< some rank asked to stop
  double communication = 0;  ///< seconds of step() that are not the optimizer's
  double optimizer = 0;      ///< seconds of the norm's pass over the gradient and of the update
  double waiting = 0;        ///< of communication: seconds without work, for other ranks had not come yet (Communicator::waited)
};

class Engine : public Stateful {
 public:
  /// Between two steps: only what is at most `depth` steps below the head (parameter_place.h) is trained from now on, never less
  /// than before. The rest keeps its bits, takes no backward pass and is not exchanged; its memory is reserved from the start, so
  /// that nothing moves when it joins. Never called: everything is trained.
  virtual void train_down_to(int64_t depth) = 0;
  /// Begins a step. Every rank takes every step, also without a leaf.
  virtual void begin_step(const StepShape& shape) = 0;
  /// Runs backward for the next leaf and adds its gradient; when `last_leaf`, reductions start while backward still runs.
  virtual void backward(const Loss& loss, bool last_leaf) = 0;
  /// Of the watched leaf, after its backward on this rank.
  virtual const LeafDigest& watched() const = 0;
  /// Runs backward for a leaf of this step, whichever rank's it is, after this rank's own and before step(): changes nothing.
  virtual LeafDigest digest(const Loss& loss) = 0;
  /// Collective: reduce, clip, update. `stop` is this rank's wish to stop after this step.
  virtual StepResult step(double lr, bool stop) = 0;
  /// Collective: the parameters change places with their average (optimizer.ema must be set). Until this is called again, the state
  /// can neither be saved nor trained on.
  virtual void swap_average() = 0;
};

/// Gives the encoder's parameters (parameter_place.h) their values where they lie, and those of the head that come from elsewhere; of the
/// encoder's that are trained, which `of` ranks have in one memory, this rank, number `index` of them, writes its share. Empty: they
/// have their values.
using EncoderFill = std::function<void(int index, int of)>;

/// Stage 0: parameters, gradients and optimizer state whole on every rank; a rank alone on a CPU gets stage 1, which is the same to it
/// and can read a gradient where it lies (leaf_window.h). l2_start: finetune.l2_start; offload: the optimizer's
/// state and updates are the host's (engine.offload). `fill` is called once, when the parameters have their places.
std::unique_ptr<Engine> make_replicated_engine(TaskModel& model, Communicator& comm, const OptimizerSection& optimizer, bool exact,
                                               double l2_start = 0, bool offload = false, const EncoderFill& fill = {});

/// ZeRO stage 1 (optimizer state sharded), 2 (gradients too) or 3 (parameters too, among the ranks of a node), within each of the
/// groups (one world is one). With exact: the bits of stage 0.
std::unique_ptr<Engine> make_sharded_engine(TaskModel& model, const ShardGroups& groups, const OptimizerSection& optimizer, int stage, bool exact,
                                            double l2_start = 0, bool offload = false, const EncoderFill& fill = {});

}  // namespace fmtrain
