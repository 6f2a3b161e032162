// A small BERT trained for a few steps by any engine on ranks that are threads, and all bits of what came out.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "runtime/engine/engine.h"
#include "tests/unit/small_bert.h"

namespace fmtrain {

/// What every rank must agree on, and the state by name as one tensor.
struct Outcome {
  std::vector<double> losses, norms, scales;  ///< a norm that is not a number is -1, for it equals nothing
  std::vector<bool> applied;
  std::map<std::string, at::Tensor> state;
  Json small;
};

struct Case {
  int stage, ranks;
  bool freeze = false;  ///< the embeddings
  int64_t recompute = 0;
  OptimizerSection optimizer = {};
  double l2_start = 0;
  bool offload = false;
  int64_t unfreeze_every = 0;  ///< steps; 0: all is trained from the start
  Precision precision = Precision::kFp32;
  double divisor = 70;     ///< of the losses
  double lr = 1e-2;
  int per_node = 0;        ///< ranks of a host, which has a copy of what a stage shares out; 0: one copy, one host
  bool one_batch = false;  ///< the same samples in every step, all of them, without dropout
  /// Called on every rank after each step.
  std::function<void(Engine&, TaskModel&)> after_step = {};
};

/// What an update may be besides AdamW with one learning rate.
struct Rule {
  const char* name;
  OptimizerName optimizer;
  double layer_decay, l2_start, ema = 0;
};
Case with_rule(Case c, const Rule& rule);

std::unique_ptr<Engine> engine_of(const Case& c, TaskModel& model, Communicator& comm);

/// Puts the pieces of one rank where they belong in the whole.
void add_pieces(std::map<std::string, at::Tensor>& state, const StateDict& dict);

/// Steps [from, to) of a run of `seed`, on from the state in `begin`, if that has one. In step 3 some ranks have no leaf. A step is skipped
/// at an overflow of the loss scale only.
Outcome train(const Case& c, uint64_t seed = 7, int64_t from = 0, int64_t to = 5, const Outcome& begin = {});

/// The two legs of one run as the outcome of the whole.
Outcome joined(const Outcome& first, Outcome second);

void expect_same(const Outcome& outcome, const Outcome& reference, const std::string& what);

}  // namespace fmtrain
