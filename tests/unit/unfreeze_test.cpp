// Gradual unfreezing: what is trained when, equal bits over stages, ranks and resumes across its boundaries, bias correction from
// the first update of a tensor on.
#include <gmock/gmock.h>
#include <ATen/ATen.h>

#include <mutex>

#include "comm/thread_communicator.h"
#include "runtime/data/plan.h"
#include "runtime/engine/optimizer.h"
#include "runtime/errors.h"
#include "runtime/parameter_place.h"
#include "runtime/run_inputs.h"
#include "runtime/unfreeze.h"
#include "tests/support/small_training.h"

namespace fmtrain {
namespace {

constexpr int64_t kLayers = 2, kSteps = 7;

int64_t depth_of(const std::string& name) { return depth_below_head(place_of(name), kLayers); }

/// Head, layer 1, layer 0, embeddings join before steps 0, `every`, 2 `every`, 3 `every`.
Case with(int stage, int ranks, int64_t every, OptimizerName name = OptimizerName::kAdamW) {
  Case c{stage, ranks};
  c.unfreeze_every = every;
  c.optimizer.name = name;
  if (name == OptimizerName::kLamb) std::tie(c.optimizer.layer_decay, c.optimizer.ema, c.l2_start) = std::tuple(0.7, 0.9, 0.5);
  return c;
}

std::string text_of(int stage, int ranks) { return "stage " + std::to_string(stage) + " on " + std::to_string(ranks); }

class GradualUnfreezing : public testing::TestWithParam<OptimizerName> {};

TEST_P(GradualUnfreezing, HasTheSameBitsOnEveryNumberOfRanksAndStage) {
  const auto reference = train(with(0, 1, 2, GetParam()), 7, 0, kSteps);
  for (const int stage : {0, 1, 2, 3})
    for (const int ranks : {1, 2, 4})
      expect_same(train(with(stage, ranks, 2, GetParam()), 7, 0, kSteps), reference, text_of(stage, ranks));
  for (const int64_t recompute : {1, 2}) {
    auto c = with(1, 2, 2, GetParam());
    c.recompute = recompute;
    expect_same(train(c, 7, 0, kSteps), reference, "recompute " + std::to_string(recompute));
  }
  EXPECT_EQ(reference.small.at("unfrozen_at"), Json({0, 2, 4, 6}));
}

TEST_P(GradualUnfreezing, GoesOnFromAStateOfAnyStep) {
  const auto whole = train(with(0, 1, 2, GetParam()), 7, 0, kSteps);
  const std::pair<int, int> worlds[] = {{0, 2}, {3, 4}, {1, 1}, {2, 2}};
  for (int64_t saved = 1; saved < kSteps; ++saved) {  // the even ones are boundaries
    const auto [stage, ranks] = worlds[saved % 4];
    const auto [next_stage, next_ranks] = worlds[(saved + 1) % 4];
    const auto begin = train(with(stage, ranks, 2, GetParam()), 7, 0, saved);
    const auto rest = train(with(next_stage, next_ranks, 2, GetParam()), 8, saved, kSteps, begin);  // other first weights
    expect_same(joined(begin, rest), whole, "saved at " + std::to_string(saved) + ", " + text_of(next_stage, next_ranks));
    EXPECT_EQ(rest.small, whole.small) << saved;
  }
}

INSTANTIATE_TEST_SUITE_P(Optimizers, GradualUnfreezing, testing::Values(OptimizerName::kAdamW, OptimizerName::kLamb, OptimizerName::kSgd),
                         [](const auto& p) { return p.param == OptimizerName::kAdamW ? "adamw" : p.param == OptimizerName::kSgd ? "sgd" : "lamb_and_all"; });

TEST(GradualUnfreezing, MovesWhatHasJoinedAndNothingElse) {
  const auto before = make_bert(small_bert(), 7);
  for (const int stage : {0, 1, 2, 3}) {
    for (int64_t steps = 1; steps <= 4; ++steps) {
      auto c = with(stage, 2, 1);
      c.l2_start = 0.1;
      c.optimizer.ema = 0.9;
      const auto after = train(c, 7, 0, steps);
      for (const auto& p : before->parameters()) {
        const bool trained = depth_of(p.name) < steps;
        const auto start = p.value.detach().view({-1});
        EXPECT_EQ(at::equal(after.state.at("param/" + p.name), start), !trained) << p.name << " after " << steps;
        EXPECT_EQ(at::equal(after.state.at("ema/" + p.name), start), !trained) << p.name << " after " << steps;
        EXPECT_TRUE(at::equal(after.state.at("start/" + p.name), start)) << p.name;
        EXPECT_EQ(after.state.at("exp_avg_sq/" + p.name).count_nonzero().item<int64_t>() == 0, !trained) << p.name << " after " << steps;
      }
    }
  }
}

TEST(GradualUnfreezing, TakesNoGradientOfWhatIsFrozen) {
  const auto comm = make_single_communicator();
  const auto model = make_bert(small_bert(), 7);
  const auto engine = engine_of(with(0, 1, 1), *model, *comm);
  for (int64_t depth = 0; depth <= kLayers + 1; ++depth) {
    engine->train_down_to(depth);
    for (const auto& p : model->parameters()) EXPECT_EQ(p.value.requires_grad(), depth_of(p.name) <= depth) << p.name;
  }
  engine->train_down_to(1);
  for (const auto& p : model->parameters()) EXPECT_TRUE(p.value.requires_grad()) << "nothing freezes again";
}

/// Two buckets (a table of 70,000 rows): the first holds nothing but frozen rows until the embeddings join.
TEST(GradualUnfreezing, LeavesWholeBucketsOut) {
  const auto run = [](int stage, int ranks) {
    std::map<std::string, at::Tensor> state;
    std::mutex mutex;
    run_ranks(ranks, [&](Communicator& comm) {
      auto config = small_bert();
      config.vocab_size = 70'000;
      config.hidden_size = 64;
      const auto model = make_bert(config, 7);
      const auto engine = engine_of({stage, ranks}, *model, comm);
      for (int64_t step = 0; step < 4; ++step) {
        engine->train_down_to(step < 3 ? 2 : 3);
        const auto [first, last] = leaves_of(comm.rank(), comm.size(), 4);
        engine->begin_step({4, first, last - first, 40.0});
        for (int64_t slot = first; slot < last; ++slot) engine->backward(model->loss(leaf(step, slot), {true, 3, step}), slot + 1 == last);
        EXPECT_TRUE(engine->step(1e-2, false).applied);
      }
      const std::lock_guard lock(mutex);
      add_pieces(state, engine->state());
    });
    return state;
  };
  const auto reference = run(0, 1);
  for (const auto& [stage, ranks] : {std::pair{1, 2}, {2, 2}, {2, 4}, {3, 4}}) {
    const auto state = run(stage, ranks);
    for (const auto& [name, value] : reference) EXPECT_TRUE(at::equal(state.at(name), value)) << text_of(stage, ranks) << " " << name;
  }
}

std::vector<NamedParameter> layer_and_head() {
  at::manual_seed(5);
  std::vector<NamedParameter> list{{"bert.encoder.layer.0.output.dense.weight", at::randn({90, 70}), true},
                                   {"classifier.weight", at::randn({9, 70}), true}};
  for (auto& p : list) p.value.requires_grad_(true);
  return list;
}

/// What joins at update 4 is treated as by an optimizer that begins there, and the head as by one that always trained all.
TEST(GradualUnfreezing, BiasCorrectionCountsTheUpdatesOfATensor) {
  for (const auto name : {OptimizerName::kAdamW, OptimizerName::kLamb}) {
    const auto run = [&](int from, bool gradual) {
      auto list = layer_and_head();
      FlatParams flat(list);
      OptimizerSection config;
      config.name = name;
      Optimizer optimizer({config, 0, 1}, flat.layout(), {{0, flat.layout().numel}}, flat.values());
      for (int step = 0; step < 6; ++step) {
        if (gradual) optimizer.train_down_to(step < 3 ? 0 : 1);
        const auto gradient = at::randn({flat.layout().numel});
        if (step >= from) optimizer.step(flat.values(), {gradient}, 1e-2, 1.0);
      }
      return std::pair{list[0].value.detach().clone(), list[1].value.detach().clone()};
    };
    const auto gradual = run(0, true), late = run(3, false), always = run(0, false);
    EXPECT_TRUE(at::equal(gradual.first, late.first));
    EXPECT_TRUE(at::equal(gradual.second, always.second));
    EXPECT_FALSE(at::equal(gradual.first, always.first));
  }
}

TEST(GradualUnfreezing, RefusesForgedNumbers) {
  auto list = layer_and_head();
  FlatParams flat(list);
  Optimizer optimizer({{}, 0, 1}, flat.layout(), {{0, flat.layout().numel}}, flat.values());
  for (const auto& numbers : std::vector<std::vector<int64_t>>{{-1}, {0, 11}, {3, 2}, {0, 1, 2}})
    EXPECT_THROW(optimizer.set_steps(10, numbers), CheckpointError) << numbers.front() << " of " << numbers.size();
  optimizer.set_steps(10, {0, 10});
  EXPECT_EQ(optimizer.unfrozen_at(), (std::vector<int64_t>{0, 10}));
}

FinetuneSection every(int64_t steps) {
  FinetuneSection finetune;
  finetune.unfreeze_every = Every{steps};
  return finetune;
}

TEST(UnfreezeSchedule, GoesDownFromTheHead) {
  const auto model = make_bert(small_bert(), 7);
  const auto schedule = unfreeze_schedule(every(0), *model, 50);  // an epoch of 50 steps
  ASSERT_EQ(schedule.size(), 4u);
  const char* names[] = {"head", "layer 1", "layer 0", "embeddings"};
  int64_t elements = 0;
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(schedule[i].step, 50 * static_cast<int64_t>(i));
    EXPECT_EQ(schedule[i].what, names[i]);
    EXPECT_EQ(trained_depth(every(0), schedule[i].step, 50), static_cast<int64_t>(i));
    EXPECT_EQ(trained_depth(every(0), schedule[i].step + 49, 50), static_cast<int64_t>(i));
    elements += schedule[i].elements;
  }
  for (const auto& p : model->parameters()) elements -= p.value.numel();
  EXPECT_EQ(elements, 0) << "every parameter joins once";
  EXPECT_EQ(unfreeze_text(schedule, 120), "head, from step 50 layer 1, from step 100 layer 0; never in 120 steps: embeddings");
  EXPECT_EQ(trained_depth(every(10), 25, 50), 2);
  EXPECT_TRUE(unfreeze_schedule({}, *model, 50).empty());
}

TEST(UnfreezeSchedule, LeavesOutWhatStaysFrozen) {
  const auto model = make_bert(small_bert(), 7);
  auto finetune = every(10);
  finetune.freeze_embeddings = true;
  finetune.freeze_layers = 1;
  apply_freeze(finetune, *model);
  EXPECT_EQ(unfreeze_text(unfreeze_schedule(finetune, *model, 50), 100), "head, from step 10 layer 1");
}

TEST(UnfreezeSchedule, NeedsAHead) {
  const auto model = make_bert(small_bert(), 7);
  auto finetune = every(10);
  finetune.patterns = {"classifier.*"};
  apply_freeze(finetune, *model);
  EXPECT_THROW(unfreeze_schedule(finetune, *model, 50), ConfigError);
}

}  // namespace
}  // namespace fmtrain
