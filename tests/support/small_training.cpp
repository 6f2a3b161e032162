#include "tests/support/small_training.h"

#include <gtest/gtest.h>
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <mutex>

#include "comm/thread_communicator.h"
#include "runtime/data/plan.h"

namespace fmtrain {
namespace {

/// Steps [from, to) of one run on this rank.
void take_steps(const Case& c, Engine& engine, TaskModel& model, const Communicator& comm, int64_t from, int64_t to, Outcome& mine) {
  for (int64_t step = from; step < to; ++step) {
    const int64_t filled = step == 3 && !c.one_batch ? 3 : kSlots;  // a short step: some ranks have no leaf
    const auto [first, last] = leaves_of(comm.rank(), comm.size(), kSlots);
    const int64_t present = std::clamp<int64_t>(filled - first, 0, last - first);
    if (c.unfreeze_every > 0) engine.train_down_to(step / c.unfreeze_every);
    engine.begin_step({kSlots, first, present, c.divisor});
    for (int64_t i = 0; i < present; ++i)
      engine.backward(model.loss(leaf(c.one_batch ? 0 : step, first + i), {!c.one_batch, 3, step}), i + 1 == present);
    const auto result = engine.step(c.lr, false);
    EXPECT_EQ(result.applied, !result.overflow);
    mine.losses.push_back(result.loss);
    mine.norms.push_back(std::isnan(result.grad_norm) ? -1 : result.grad_norm);
    mine.scales.push_back(result.loss_scale);
    mine.applied.push_back(result.applied);
    if (c.after_step) c.after_step(engine, model);
  }
}

}  // namespace

Case with_rule(Case c, const Rule& rule) {
  c.optimizer.name = rule.optimizer;
  c.optimizer.layer_decay = rule.layer_decay;
  c.optimizer.ema = rule.ema;
  c.l2_start = rule.l2_start;
  return c;
}

std::unique_ptr<Engine> engine_of(const Case& c, TaskModel& model, Communicator& comm) {
  if (c.stage == 0) return make_replicated_engine(model, comm, c.optimizer, true, c.l2_start, c.offload);
  const ShardGroups groups(comm, c.per_node > 0 ? ShardGroup::kNode : ShardGroup::kWorld, "h");
  return make_sharded_engine(model, groups, c.optimizer, c.stage, true, c.l2_start, c.offload);
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
    config.precision = c.precision;
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
    if (comm.rank() == 0)
      std::tie(outcome.losses, outcome.norms, outcome.scales, outcome.applied) = std::tie(mine.losses, mine.norms, mine.scales, mine.applied);
    const auto state = engine->state();
    add_pieces(outcome.state, state);
    outcome.small = state.small;
  }, c.per_node);
  return outcome;
}

Outcome joined(const Outcome& first, Outcome second) {
  const auto put_before = [](const auto& begin, auto& end) { end.insert(end.begin(), begin.begin(), begin.end()); };
  put_before(first.losses, second.losses);
  put_before(first.norms, second.norms);
  put_before(first.scales, second.scales);
  put_before(first.applied, second.applied);
  return second;
}

void expect_same(const Outcome& outcome, const Outcome& reference, const std::string& what) {
  EXPECT_EQ(outcome.losses, reference.losses) << what;
  EXPECT_EQ(outcome.norms, reference.norms) << what;
  EXPECT_EQ(outcome.scales, reference.scales) << what;
  EXPECT_EQ(outcome.applied, reference.applied) << what;
  EXPECT_EQ(outcome.small, reference.small) << what;
  ASSERT_EQ(outcome.state.size(), reference.state.size()) << what;
  for (const auto& [name, value] : reference.state) EXPECT_TRUE(at::equal(outcome.state.at(name), value)) << what << " " << name;
}

}  // namespace fmtrain
