#include "tests/support/small_training.h"

#include <gtest/gtest.h>
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <mutex>

#include "comm/thread_communicator.h"
#include "runtime/data/plan.h"

namespace fmtrain {
namespace {

/// Steps [from, to) of one run on this rank.
void take_steps(const Case& c, Engine& engine, TaskModel& model, const Communicator& comm, int64_t from, int64_t to, Outcome& mine) {
  for (int64_t step = from; step < to; ++step) {
    const int64_t filled = step == 3 ? 3 : kSlots;  // a short step: some ranks have no leaf
    const auto [first, last] = leaves_of(comm.rank(), comm.size(), kSlots);
    const int64_t present = std::clamp<int64_t>(filled - first, 0, last - first);
    if (c.unfreeze_every > 0) engine.train_down_to(step / c.unfreeze_every);
    engine.begin_step({kSlots, first, present, 70.0});
    for (int64_t i = 0; i < present; ++i) engine.backward(model.loss(leaf(step, first + i), {true, 3, step}), i + 1 == present);
    const auto result = engine.step(1e-2, false);
    EXPECT_TRUE(result.applied);
    mine.losses.push_back(result.loss);
    mine.norms.push_back(result.grad_norm);
    if (c.after_step) c.after_step(engine, model);
  }
}

}  // namespace

std::unique_ptr<Engine> engine_of(const Case& c, TaskModel& model, Communicator& comm) {
  if (c.stage == 0) return make_replicated_engine(model, comm, c.optimizer, true, c.l2_start, c.offload);
  return make_sharded_engine(model, comm, c.optimizer, c.stage, true, c.l2_start, c.offload);
}

void add_pieces(std::map<std::string, at::Tensor>& state, const StateDict& dict) {
  for (const auto& piece : dict.pieces) {
    int64_t numel = 1;
    for (const auto n : piece.shape) numel *= n;
    auto& whole = state[piece.name];
    if (!whole.defined()) whole = at::full({numel}, std::numeric_limits<float>::quiet_NaN());
    whole.narrow(0, piece.offset, piece.data.numel()).copy_(piece.data);
  }
}

Outcome train(const Case& c, uint64_t seed, int64_t from, int64_t to, const Outcome& begin) {
  Outcome outcome;
  std::mutex mutex;
  run_ranks(c.ranks, [&](Communicator& comm) {
    at::set_num_threads(1);
    auto config = small_bert();
    config.recompute = c.recompute;
    const auto model = make_bert(config, seed);
    if (c.freeze)
      for (auto& p : model->parameters()) p.value.requires_grad_(p.name.find("embeddings") == std::string::npos);
    const auto engine = engine_of(c, *model, comm);
    if (!begin.state.empty()) {
      for (const auto& piece : engine->targets().pieces)
        piece.data.copy_(begin.state.at(piece.name).narrow(0, piece.offset, piece.data.numel()));
      engine->load_state(begin.small);
    }
    Outcome mine;
    take_steps(c, *engine, *model, comm, from, to, mine);
    const std::lock_guard lock(mutex);
    if (comm.rank() == 0) std::tie(outcome.losses, outcome.norms) = std::tie(mine.losses, mine.norms);
    const auto state = engine->state();
    add_pieces(outcome.state, state);
    outcome.small = state.small;
  });
  return outcome;
}

Outcome joined(const Outcome& first, Outcome second) {
  second.losses.insert(second.losses.begin(), first.losses.begin(), first.losses.end());
  second.norms.insert(second.norms.begin(), first.norms.begin(), first.norms.end());
  return second;
}

void expect_same(const Outcome& outcome, const Outcome& reference, const std::string& what) {
  EXPECT_EQ(outcome.losses, reference.losses) << what;
  EXPECT_EQ(outcome.norms, reference.norms) << what;
  ASSERT_EQ(outcome.state.size(), reference.state.size()) << what;
  for (const auto& [name, value] : reference.state) EXPECT_TRUE(at::equal(outcome.state.at(name), value)) << what << " " << name;
}

}  // namespace fmtrain
