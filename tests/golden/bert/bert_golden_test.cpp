// Hidden states, logits, loss and gradients against Hugging Face transformers (make_golden.py).
#include <gtest/gtest.h>
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <filesystem>

#include "models/task_model.h"
#include "runtime/checkpoint/safetensors.h"
#include "runtime/model_dir.h"
#include "runtime/model_path.h"

namespace fmtrain {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

const std::string kGolden = FMTRAIN_SOURCE_DIR "/tests/golden/bert/";

Tensors read_tensors(const std::string& path) {
  const SafetensorsFile file(path);
  Tensors result;
  for (size_t i = 0; i < file.header().tensors.size(); ++i) {
    const auto& t = file.header().tensors[i];
    auto value = at::empty(t.shape, t.dtype == "I64" ? at::kLong : at::kFloat);
    file.read(i, value.data_ptr());
    result[t.name] = value;
  }
  return result;
}

Batch batch_of(const Tensors& golden) {
  Batch b;
  const auto lengths = golden.at("lengths");
  b.tokens = golden.at("tokens");
  b.types = golden.at("types");
  b.targets = golden.at("targets");
  b.offsets = at::cat({at::zeros({1}, at::kLong), lengths.cumsum(0)});
  std::vector<at::Tensor> positions;
  for (int64_t s = 0; s < lengths.size(0); ++s) positions.push_back(at::arange(lengths[s].item<int64_t>()));
  b.positions = at::cat(positions);
  b.sample_ids = at::arange(lengths.size(0)) * 7 + 2;
  b.valid_targets = (b.targets != kIgnoreTarget).sum().item<int64_t>();
  return b;
}

/// Sample s of `batch` as a batch of its own.
Batch alone(const Batch& batch, int64_t s) {
  const int64_t first = batch.offsets[s].item<int64_t>(), last = batch.offsets[s + 1].item<int64_t>();
  Batch b;
  b.tokens = batch.tokens.slice(0, first, last);
  b.types = batch.types.slice(0, first, last);
  b.positions = batch.positions.slice(0, first, last);
  b.offsets = at::tensor({int64_t{0}, last - first});
  b.sample_ids = batch.sample_ids.slice(0, s, s + 1);
  b.targets = batch.targets.size(0) == batch.tokens.size(0) ? batch.targets.slice(0, first, last) : batch.targets.slice(0, s, s + 1);
  b.valid_targets = (b.targets != kIgnoreTarget).sum().item<int64_t>();
  return b;
}

void fill(TaskModel& model, const Tensors& weights) {
  const at::NoGradGuard no_grad;
  for (auto& p : model.parameters()) {
    const bool own_head = model.config().task == Task::kTokenClassification && p.name.rfind("classifier", 0) == 0 && weights.count("tagger." + p.name);
    p.value.copy_(weights.at((own_head ? "tagger." : "") + p.name));
  }
  model.parameters_changed();
}

ModelConfig tiny_config(Task task, Pooling pooling = Pooling::kPooler) {
  ModelConfig c = read_model_config(kGolden + "tiny");
  c.task = task;
  c.pooling = pooling;
  c.labels = task == Task::kTokenClassification ? 5 : 3;
  return c;
}

std::unique_ptr<TaskModel> tiny(const ModelConfig& config) {
  auto model = make_bert(config, 1);
  fill(*model, read_tensors(kGolden + "tiny/weights.safetensors"));
  return model;
}

double largest(const at::Tensor& x) { return x.abs().max().item<double>(); }

const Pass kEvaluation{};

TEST(TinyBert, HiddenStatesOfEveryLayer) {
  const auto golden = read_tensors(kGolden + "tiny_tokens.safetensors");
  for (int64_t layers = 1; layers <= 2; ++layers) {
    auto config = tiny_config(Task::kTokenClassification);
    config.layers = layers;
    const auto hidden = tiny(config)->hidden_states(batch_of(golden), kEvaluation);
    EXPECT_LE(largest(hidden - golden.at("hidden." + std::to_string(layers))), 5e-6) << layers;
  }
}

class TinyHead : public testing::TestWithParam<Task> {};

TEST_P(TinyHead, LogitsLossAndGradients) {
  const auto golden = read_tensors(kGolden + (GetParam() == Task::kTokenClassification ? "tiny_tokens.safetensors" : "tiny_sequences.safetensors"));
  const auto model = tiny(tiny_config(GetParam()));
  const auto batch = batch_of(golden);
  EXPECT_LE(largest(model->logits(batch, kEvaluation) - golden.at("logits")), 1e-5);
  if (GetParam() == Task::kTokenClassification) {
    auto listed = batch;
    listed.target_rows = (batch.targets != kIgnoreTarget).nonzero().view(-1);
    EXPECT_LT(listed.target_rows.numel(), batch.length());
    EXPECT_LE(largest(model->target_logits(listed, kEvaluation) - golden.at("logits").index_select(0, listed.target_rows)), 1e-5);
    EXPECT_TRUE(at::equal(targets_of_logits(listed), batch.targets.index_select(0, listed.target_rows)));
  }
  const Loss loss = model->loss(batch, kEvaluation);
  EXPECT_EQ(loss.count, batch.valid_targets);
  EXPECT_NEAR(loss.sum.item<double>(), golden.at("loss").item<double>(), 2e-6 * golden.at("loss").item<double>());
  loss.sum.backward();
  for (const auto& p : model->parameters()) {
    const auto expected = golden.at("grad." + p.name), gradient = p.value.grad().to_dense();
    if (p.name.ends_with("self.key.bias")) {  // zero by mathematics: a constant added to every key changes no softmax
      EXPECT_LE(largest(gradient), 1e-4) << p.name;
      continue;
    }
    EXPECT_LE((gradient - expected).norm().item<double>(), 1e-5 * expected.norm().item<double>()) << p.name;
  }
}

TEST(TinyBert, RowsWithoutATargetNeedNoLastLayer) {
  const auto golden = read_tensors(kGolden + "tiny_tokens.safetensors");
  const auto model = tiny(tiny_config(Task::kTokenClassification));
  auto batch = batch_of(golden);
  const Pass training{true, 3, 4};
  const auto all = model->loss(batch, training);
  all.sum.backward();
  std::vector<at::Tensor> expected;
  for (auto& p : model->parameters()) {
    expected.push_back(p.value.grad().to_dense().clone());
    p.value.mutable_grad().reset();
  }
  batch.target_rows = batch.targets.ne(kIgnoreTarget).nonzero().view(-1);
  ASSERT_LT(batch.target_rows.numel(), batch.length());
  const auto some = model->loss(batch, training);
  EXPECT_EQ(some.count, all.count);
  EXPECT_NEAR(some.sum.item<double>(), all.sum.item<double>(), 2e-6 * all.sum.item<double>());
  some.sum.backward();
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto& p = model->parameters()[i];
    if (p.name.ends_with("self.key.bias")) continue;  // zero by mathematics
    EXPECT_LE((p.value.grad().to_dense() - expected[i]).norm().item<double>(), 1e-5 * expected[i].norm().item<double>()) << p.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Heads, TinyHead, testing::Values(Task::kTokenClassification, Task::kSequenceClassification));

TEST(TinyBert, OtherPoolings) {
  const auto golden = read_tensors(kGolden + "tiny_sequences.safetensors");
  for (const auto& [pooling, name] : {std::pair{Pooling::kCls, "logits.cls"}, std::pair{Pooling::kMean, "logits.mean"}}) {
    const auto model = tiny(tiny_config(Task::kSequenceClassification, pooling));
    EXPECT_LE(largest(model->logits(batch_of(golden), kEvaluation) - golden.at(name)), 1e-5) << name;
  }
}

TEST(TinyBert, ParameterNamesAndOrderAreTheFormats) {
  const auto names = [](const ModelConfig& config) {
    std::vector<std::string> result;
    const auto model = make_bert(config, 1);
    for (const auto& p : model->parameters()) result.push_back(p.name);
    return result;
  };
  const auto token = names(tiny_config(Task::kTokenClassification)), sequence = names(tiny_config(Task::kSequenceClassification));
  EXPECT_EQ(token.front(), "bert.embeddings.word_embeddings.weight");
  EXPECT_EQ(token[5], "bert.encoder.layer.0.attention.self.query.weight");
  EXPECT_EQ(token.back(), "classifier.bias");
  EXPECT_EQ(token.size(), 5u + 2 * 16 + 2);
  EXPECT_EQ(sequence.size(), token.size() + 2);
  EXPECT_EQ(sequence[sequence.size() - 4], "bert.pooler.dense.weight");
  EXPECT_EQ(names(tiny_config(Task::kSequenceClassification, Pooling::kMean)), token);
}

TEST(TinyBert, PackedSamplesEqualSamplesAlone) {
  const auto batch = batch_of(read_tensors(kGolden + "tiny_tokens.safetensors"));
  const auto model = tiny(tiny_config(Task::kTokenClassification));
  for (const Pass& pass : {kEvaluation, Pass{true, 5, 9}}) {  // with dropout too: masks follow the sample, not its place
    const auto logits = model->logits(batch, pass);
    for (int64_t s = 0; s < batch.samples(); ++s) {
      const auto own = logits.slice(0, batch.offsets[s].item<int64_t>(), batch.offsets[s + 1].item<int64_t>());
      EXPECT_LE(largest(model->logits(alone(batch, s), pass) - own), 1e-5) << s;
    }
  }
}

TEST(TinyBert, TrainingIsAFunctionOfSeedStepAndSample) {
  const auto batch = batch_of(read_tensors(kGolden + "tiny_tokens.safetensors"));
  const auto model = tiny(tiny_config(Task::kTokenClassification));
  const auto first = model->logits(batch, {true, 5, 9});
  EXPECT_TRUE(at::equal(first, model->logits(batch, {true, 5, 9})));
  EXPECT_FALSE(at::equal(first, model->logits(batch, {true, 6, 9})));
  EXPECT_FALSE(at::equal(first, model->logits(batch, {true, 5, 10})));
  auto other = batch;
  other.sample_ids = batch.sample_ids + 1;
  EXPECT_FALSE(at::equal(first, model->logits(other, {true, 5, 9})));
}

TEST(TinyBert, DropoutOfZeroIsEvaluation) {
  const auto batch = batch_of(read_tensors(kGolden + "tiny_tokens.safetensors"));
  auto config = tiny_config(Task::kTokenClassification);
  config.dropout = {0, 0, 0};
  const auto model = tiny(config);
  EXPECT_TRUE(at::equal(model->logits(batch, {true, 5, 9}), model->logits(batch, kEvaluation)));
}

/// Loss and all gradients of one training pass.
std::vector<at::Tensor> gradients(TaskModel& model, const Batch& batch) {
  const Loss loss = model.loss(batch, {true, 5, 9});
  for (auto& p : model.parameters()) p.value.mutable_grad().reset();
  loss.sum.backward();
  std::vector<at::Tensor> result{loss.sum.detach()};
  for (const auto& p : model.parameters()) result.push_back(p.value.grad().to_dense().clone());
  return result;
}

TEST(TinyBert, EqualBitsWhenRepeated) {
  const auto batch = batch_of(read_tensors(kGolden + "tiny_tokens.safetensors"));
  for (const auto precision : {Precision::kFp32, Precision::kBf16, Precision::kFp16}) {
    auto config = tiny_config(Task::kTokenClassification);
    config.precision = precision;
    const auto model = tiny(config);
    const auto first = gradients(*model, batch), second = gradients(*model, batch);
    for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(at::equal(first[i], second[i])) << i;
  }
}

TEST(TinyBert, LowPrecisionFollows) {
  const auto batch = batch_of(read_tensors(kGolden + "tiny_tokens.safetensors"));
  auto config = tiny_config(Task::kTokenClassification);
  const auto full = gradients(*tiny(config), batch);
  // fp16 has three bits more than bf16
  for (const auto& [precision, share] : {std::pair{Precision::kBf16, 1.0}, {Precision::kFp16, 0.125}}) {
    config.precision = precision;
    const auto low = gradients(*tiny(config), batch);
    EXPECT_NEAR(low[0].item<double>(), full[0].item<double>(), 0.02 * share * full[0].item<double>());
    for (size_t i = 1; i < full.size(); ++i) {
      EXPECT_EQ(low[i].scalar_type(), at::kFloat);
      if (i == 1 + 9) continue;  // key bias of layer 0: zero by mathematics
      if (i == 1 + 25) continue;  // key bias of layer 1
      EXPECT_LE((low[i] - full[i]).norm().item<double>(), 0.05 * share * full[i].norm().item<double>()) << i - 1;
    }
  }
}

TEST(TinyBert, ReadsParametersAtTheirNewPlace) {
  const auto batch = batch_of(read_tensors(kGolden + "tiny_tokens.safetensors"));
  for (const auto precision : {Precision::kFp32, Precision::kBf16, Precision::kFp16}) {
    auto config = tiny_config(Task::kTokenClassification);
    config.precision = precision;
    const auto model = tiny(config);
    const auto before = model->logits(batch, kEvaluation);
    for (auto& p : model->parameters()) p.value.set_data(p.value.detach() * 1.25);
    model->parameters_changed();
    const auto rebound = model->logits(batch, kEvaluation);
    EXPECT_FALSE(at::equal(before, rebound));
    for (auto& p : model->parameters()) p.value.set_data(p.value.detach() / 1.25);
    model->parameters_changed();
    EXPECT_LE(largest(model->logits(batch, kEvaluation) - before), precision == Precision::kFp32 ? 1e-5 : 0.1);
  }
}

/// +1 or -1 for element i: a bit of splitmix64, as signs() of make_golden.py.
double sign(uint64_t i, uint64_t k) {
  uint64_t z = i * 16 + k + 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return (z ^ (z >> 31)) & 1 ? -1.0 : 1.0;
}

/// Estimated L2 distance between `gradient` and the one whose norm and 16 signed sums `golden` holds, relative to that norm.
double distance(const at::Tensor& gradient, const at::Tensor& golden) {
  const auto g = gradient.to(at::kFloat).contiguous();
  const float* p = g.data_ptr<float>();
  double sum = 0;
  for (uint64_t k = 0; k < 16; ++k) {
    double projection = 0;
    for (uint64_t i = 0; i < static_cast<uint64_t>(g.numel()); ++i) projection += sign(i, k) * p[i];
    sum += std::pow(projection - golden[static_cast<int64_t>(k) + 1].item<double>(), 2) / 16;
  }
  return std::sqrt(sum) / golden[0].item<double>();
}

TEST(MiniLm, HiddenStatesLogitsLossAndGradients) {
  const std::string dir = std::string(getenv("HOME") ? getenv("HOME") : "") + "/.cache/fmtrain/all-MiniLM-L6-v2";
  if (!std::filesystem::exists(dir + "/model.safetensors")) GTEST_SKIP() << dir << " is missing: launch/setup.sh fetches it";
  const auto golden = read_tensors(kGolden + "minilm.safetensors");
  auto config = read_model_config(dir);
  config.labels = golden.at("classifier.weight").size(0);
  const auto batch = batch_of(golden);
  std::unique_ptr<TaskModel> model;
  for (int64_t layers = 6; layers >= 1; --layers) {
    auto shallow = config;
    shallow.layers = layers;
    auto part = make_bert(shallow, 1);
    if (layers == 6) load_weights(*part, dir);
    else
      for (size_t i = 0; i + 2 < part->parameters().size(); ++i) part->parameters()[i].value.data().copy_(model->parameters()[i].value);
    const auto hidden = part->hidden_states(batch, kEvaluation).flatten().slice(0, 0, std::nullopt, 191);
    EXPECT_LE(largest(hidden - golden.at("hidden." + std::to_string(layers))), 2e-5) << layers;
    if (layers == 6) model = std::move(part);
  }
  model->parameters()[model->parameters().size() - 2].value.data().copy_(golden.at("classifier.weight"));
  model->parameters().back().value.data().zero_();
  EXPECT_LE(largest(model->logits(batch, kEvaluation) - golden.at("logits")), 2e-5);
  const Loss loss = model->loss(batch, kEvaluation);
  EXPECT_NEAR(loss.sum.item<double>(), golden.at("loss").item<double>(), 1e-5 * golden.at("loss").item<double>());
  loss.sum.backward();
  for (const auto& p : model->parameters()) {
    if (p.name.ends_with("self.key.bias")) continue;  // zero by mathematics
    EXPECT_LE(distance(p.value.grad().to_dense(), golden.at("grad." + p.name)), 1e-5) << p.name;
  }
}

}  // namespace
}  // namespace fmtrain
