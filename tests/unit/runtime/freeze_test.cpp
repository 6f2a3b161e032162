// Frozen parameters: which they are, that training leaves their bits alone and keeps no state for them.
#include <gmock/gmock.h>
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <functional>
#include <set>
#include <tuple>

#include "comm/thread_communicator.h"
#include "runtime/data/plan.h"
#include "runtime/engine/engine.h"
#include "runtime/errors.h"
#include "runtime/run_inputs.h"
#include "tests/unit/runtime/tiny_model.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;

Batch leaf(int64_t step, int64_t slot) {
  Batch b;
  b.tokens = (at::arange(10) * 7 + 11 * slot + 5 * step) % 60;
  b.types = at::zeros_like(b.tokens);
  b.positions = at::arange(5).repeat({2});
  b.offsets = at::arange(3) * 5;
  b.sample_ids = at::arange(2) + 8 * step + 2 * slot;
  b.targets = b.tokens % 3;
  b.valid_targets = 10;
  return b;
}

struct Outcome {
  std::set<std::string> changed;                      ///< parameters
  std::map<std::string, std::vector<int64_t>> state;  ///< name -> shape of what the engine keeps
  std::string sha256;
};

Outcome train(const FinetuneSection& finetune, int ranks) {
  Outcome outcome;
  run_ranks(ranks, [&](Communicator& comm) {
    at::set_num_threads(1);
    const auto model = make_bert(tiny_shape(Task::kTokenClassification, 3), 7),
               before = make_bert(tiny_shape(Task::kTokenClassification, 3), 7);
    apply_freeze(finetune, *model);
    const auto engine = make_replicated_engine(*model, comm, OptimizerSection{}, true);
    for (int64_t step = 0; step < 3; ++step) {
      const auto [first, last] = leaves_of(comm.rank(), comm.size(), 4);
      engine->begin_step({4, first, last - first, 40.0});
      for (int64_t slot = first; slot < last; ++slot)
        engine->backward(model->loss(leaf(step, slot), {true, 3, step}), slot + 1 == last);
      EXPECT_TRUE(engine->step(1e-2, false).applied);
    }
    const auto state = engine->state();
    if (comm.rank() != 0) return;
    for (size_t i = 0; i < model->parameters().size(); ++i)
      if (!at::equal(model->parameters()[i].value.detach(), before->parameters()[i].value.detach()))
        outcome.changed.insert(model->parameters()[i].name);
    for (const auto& piece : state.pieces) outcome.state[piece.name] = piece.shape;
    outcome.sha256 = weights_sha256(*model);
  });
  return outcome;
}

FinetuneSection section(bool backbone, bool embeddings, int64_t layers, std::vector<std::string> patterns) {
  FinetuneSection s;
  std::tie(s.freeze_backbone, s.freeze_embeddings, s.freeze_layers, s.patterns) =
      std::tie(backbone, embeddings, layers, patterns);
  return s;
}

TEST(Freeze, KeepsTheBitsAndNoState) {
  const struct {
    FinetuneSection finetune;
    std::function<bool(const std::string&)> frozen;
  } cases[] = {
      {section(false, false, 0, {}), [](const std::string&) { return false; }},
      {section(true, false, 0, {}), [](const std::string& n) { return n.starts_with("bert."); }},
      {section(false, true, 1, {}),
       [](const std::string& n) { return n.starts_with("bert.embeddings.") || n.starts_with("bert.encoder.layer.0."); }},
      {section(false, false, 0, {"*.query.*", "classifier.bia?"}),
       [](const std::string& n) { return n.find(".query.") != std::string::npos || n == "classifier.bias"; }}};
  for (const auto& c : cases) {
    const auto one = train(c.finetune, 1), two = train(c.finetune, 2);
    EXPECT_EQ(one.sha256, two.sha256);
    EXPECT_EQ(one.changed, two.changed);
    const auto model = make_bert(tiny_shape(Task::kTokenClassification, 3), 7);
    for (const auto& p : model->parameters()) {
      EXPECT_EQ(one.changed.count(p.name), c.frozen(p.name) ? 0u : 1u) << p.name;
      for (const auto& [name, shape] : one.state) EXPECT_FALSE(c.frozen(p.name) && name.ends_with(p.name)) << name;
    }
    EXPECT_FALSE(one.state.empty());
  }
}

TEST(Freeze, GroupsCountEveryParameterOnce) {
  const auto model = make_bert(tiny_shape(Task::kTokenClassification, 3), 7);
  int64_t tensors = 0, elements = 0, head = 0;
  for (const auto& p : model->parameters()) {
    ++tensors;
    elements += p.value.numel();
    if (p.name.starts_with("classifier.")) head += p.value.numel();
  }
  const auto groups = apply_freeze(section(true, false, 0, {}), *model);
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0].tensors, 1);
  EXPECT_EQ(groups[1].tensors, 1);
  EXPECT_EQ(groups[2].tensors, tensors - 2);
  EXPECT_EQ(groups[0].elements + groups[1].elements, head);
  EXPECT_EQ(groups[2].elements, elements - head);
}

TEST(Freeze, Mistakes) {
  const struct {
    FinetuneSection finetune;
    const char* says;
  } cases[] = {{section(false, false, 0, {"*.query.*", "bert.encoder.layer.7.*"}), "bert.encoder.layer.7.*"},
               {section(false, false, 0, {"*"}), "every parameter is frozen"},
               {section(true, false, 0, {"classifier.*"}), "every parameter is frozen"},
               {section(false, false, 3, {}), "3, but the model has 2 layers"}};
  for (const auto& c : cases) {
    const auto model = make_bert(tiny_shape(Task::kTokenClassification, 3), 7);
    try {
      apply_freeze(c.finetune, *model);
      ADD_FAILURE() << c.says;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr(c.says));
    }
  }
}

}  // namespace
}  // namespace fmtrain
