// Observation of a model: the same bits on every number of ranks, what is in it, and that it agrees with evaluate().
#include "runtime/continual/observe.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <bit>
#include <set>
#include <stdexcept>

#include "comm/thread_communicator.h"
#include "runtime/data/prepare.h"
#include "runtime/evaluator.h"
#include "tests/unit/runtime/tiny_model.h"

namespace fmtrain {
namespace {

class Observe : public TinyModelFolder {
 protected:
  std::unique_ptr<Dataset> open(const std::string& name, const std::string& text, Task task) const {
    write(name, text);
    PrepareOptions options;
    options.task = task;
    options.max_length = 8;
    prepare_file(path(name), options, *tokenizer_, path(name + ".h5"));
    return open_dataset(path(name + ".h5"), tokenizer_->vocab_size());
  }
  std::unique_ptr<Dataset> tagged(int texts) const {
    std::string all;
    for (int t = 0; t < texts; ++t) {
      for (int w = 0; w <= (t * 7) % 11; ++w) {
        const int n = t + 3 * w;
        all += n % 5 == 4 ? "\u200b" : std::string(1 + static_cast<size_t>(n % 2), static_cast<char>('a' + n % 26));
        all += n % 3 ? "\tO\n" : "\tB-P\n";
      }
      all += "\n";
    }
    return open(std::to_string(texts) + ".conll", all, Task::kTokenClassification);
  }
  std::unique_ptr<Dataset> classes(int texts) const {
    std::string all = "text,label\n";
    for (int t = 0; t < texts; ++t)
      all += std::string(1 + static_cast<size_t>(t % 5), static_cast<char>('a' + t % 26)) + (t % 3 ? ",x\n" : ",y\n");
    return open(std::to_string(texts) + ".csv", all, Task::kSequenceClassification);
  }
};

std::unique_ptr<TaskModel> model_of(const Dataset& data, uint64_t seed, Pooling pooling = Pooling::kPooler) {
  auto shape = tiny_shape(data.info().task, static_cast<int64_t>(data.info().labels.size()));
  shape.pooling = pooling;
  return make_bert(shape, seed);
}

/// On `ranks` ranks; all have found the same.
Observation observed(const Dataset& data, int ranks, uint64_t seed = 6) {
  std::vector<Observation> all(static_cast<size_t>(ranks));
  run_ranks(ranks, [&](Communicator& comm) {
    at::set_num_threads(1);
    all[static_cast<size_t>(comm.rank())] = observe(*model_of(data, seed), data, comm, kUnk);
  });
  for (const auto& one : all) EXPECT_EQ(one.seconds_per_text, all[0].seconds_per_text);
  return all.back();
}

std::vector<uint32_t> bits(const std::vector<float>& values) {
  std::vector<uint32_t> all;
  for (const float value : values) all.push_back(std::bit_cast<uint32_t>(value));
  return all;
}

TEST_F(Observe, TheSameBitsOnEveryNumberOfRanks) {
  for (const int texts : {1, 2, 331}) {  // 331 make several batches; of 1 and 2, ranks have none
    const auto tags = tagged(texts), labels = classes(texts);
    for (const auto* data : {tags.get(), labels.get()}) {
      const Observation one = observed(*data, 1);
      EXPECT_EQ(one.texts(), texts);
      EXPECT_GT(one.seconds_per_text, 0);
      for (const int ranks : {2, 3}) {
        const Observation other = observed(*data, ranks);
        EXPECT_EQ(bits(other.features), bits(one.features)) << texts << " texts on " << ranks;
        EXPECT_EQ(bits(other.probabilities), bits(one.probabilities));
        EXPECT_EQ(other.labels, one.labels);
        EXPECT_EQ(other.gold, one.gold);
        EXPECT_EQ(other.predicted, one.predicted);
        for (const size_t q : {0, 1}) {
          EXPECT_EQ(other.quantities.at(q).name, q ? "unknown" : "length");
          EXPECT_EQ(other.quantities[q].values, one.quantities.at(q).values);
        }
      }
    }
  }
}

/// A model that says what it is told: hidden states and logits are functions of the token, so that expectations are exact.
class TokenModel final : public TaskModel {
 public:
  explicit TokenModel(const ModelConfig& shape) : shape_(shape), parameters_{{"p", at::zeros({1}), false}} {}
  const ModelConfig& config() const override { return shape_; }
  std::vector<NamedParameter>& parameters() override { return parameters_; }
  at::Tensor hidden_states(const Batch& batch, const Pass&) override {
    ++encoded;
    const auto token = batch.tokens.to(at::kFloat);
    return at::stack({token, -token}, 1);
  }
  at::Tensor logits_from(const at::Tensor& hidden, const Batch&, const Pass&) override {
    const auto token = hidden.select(1, 0);
    return at::stack({at::zeros_like(token), token - (front('f') + 0.5), at::full_like(token, -20)}, 1);
  }
  at::Tensor logits(const Batch& batch, const Pass& pass) override {
    return logits_from(hidden_states(batch, pass), batch, pass);
  }
  at::Tensor target_logits(const Batch& batch, const Pass& pass) override { return logits(batch, pass); }
  Loss loss(const Batch&, const Pass&) override { return {}; }
  void parameters_changed() override {}
  int encoded = 0;

 private:
  ModelConfig shape_;
  std::vector<NamedParameter> parameters_;
};

ModelConfig token_shape() {
  auto shape = tiny_shape(Task::kTokenClassification, 3);
  shape.hidden_size = 2;
  return shape;
}

TEST_F(Observe, ATextOfTwoSamplesIsOneWithTheWordMostLikelyOfAnEntity) {
  // Windows of 6 tokens: a b c d e f | h z, then a text of one word that is unknown, then one whose word has no token.
  const auto data = open("in.conll", "a\tO\nb\tO\nc\tB-P\nd\tO\ne\tO\nf\tO\nh\tB-P\nz\tI-P\n\n7\tO\n\n\u200b\tB-P\n",
                         Task::kTokenClassification);
  ASSERT_EQ(data->size(), 4);
  ASSERT_EQ(data->info().labels, (std::vector<std::string>{"O", "B-P", "I-P"}));
  TokenModel model(token_shape());
  const auto comm = make_single_communicator();
  const Observation o = observe(model, *data, *comm, kUnk);
  EXPECT_EQ(model.encoded, 1);  // one batch, once
  ASSERT_EQ(o.texts(), 3);
  float letters = 0;
  for (const char c : {'a', 'b', 'c', 'd', 'e', 'f', 'h', 'z'}) letters += static_cast<float>(front(c));
  EXPECT_EQ(o.features[0], (letters + 2 * (kCls + kSep)) / 12);
  EXPECT_EQ(o.features[1], -o.features[0]);
  EXPECT_NEAR(o.probabilities[1], 1 / (1 + std::exp(-19.5)), 1e-7);  // of "z", 20 letters behind "f"
  EXPECT_EQ(o.labels, (std::vector<int32_t>{2, 0, 1}));              // its gold label; of the first word where none has a token
  EXPECT_EQ(o.predicted[0], (std::vector<int32_t>{0, 0, 0, 0, 0, 0, 1, 1}));
  EXPECT_EQ(o.gold[0], (std::vector<int32_t>{0, 0, 1, 0, 0, 0, 1, 2}));
  EXPECT_EQ(std::vector<float>(o.probabilities.end() - 3, o.probabilities.end()), (std::vector<float>{1, 0, 0}));
  EXPECT_EQ(o.predicted[2], std::vector<int32_t>{0});
  EXPECT_EQ(o.quantities[0].values, (std::vector<double>{12, 3, 2}));
  EXPECT_EQ(o.quantities[1].values, (std::vector<double>{0, 1.0 / 3, 0}));
  EXPECT_EQ(observe(model, *data, *comm, -1).quantities.size(), 1u);  // without [UNK] there is nothing to count
}

/// Sums of a column of {correct, predicted, truth} or {correct, 1}.
std::vector<int64_t> sums_of(const std::vector<int64_t>& counts, int64_t width) {
  std::vector<int64_t> sums(static_cast<size_t>(width), 0);
  for (size_t i = 0; i < counts.size(); ++i) sums[i % sums.size()] += counts[i];
  return sums;
}

TEST_F(Observe, PredictionsAndCountsAreThoseOfEvaluate) {
  const auto tags = tagged(331), labels = classes(331);
  const auto comm = make_single_communicator();
  for (const auto* data : {tags.get(), labels.get()}) {
    const Task task = data->info().task;
    const bool tagging = task == Task::kTokenClassification;
    const Observation champion = observed(*data, 2, 6), challenger = observed(*data, 2, 7);
    ASSERT_NE(champion.predicted, challenger.predicted);
    const PairedCounts counts = paired_counts(champion, challenger, data->info().labels, task);
    ASSERT_EQ(counts.examples(), 331);
    EXPECT_EQ(counts.strata.size(), tagging ? 0u : 331u);
    for (const bool second : {false, true}) {
      const auto sums = sums_of(second ? counts.challenger : counts.champion, counts.width);
      const Json metrics = evaluate(*model_of(*data, second ? 7 : 6), *data, *comm, 0).at("metrics");
      EXPECT_EQ(tagging ? f1_of_sums(sums) : accuracy_of_sums(sums), metrics.at(tagging ? "f1" : "accuracy").get<double>());
      EXPECT_GT(sums[0], 0);
    }
  }
}

TEST_F(Observe, LogitsFromHiddenStatesAreThoseOfTheModel) {
  const auto tags = tagged(31), labels = classes(31);
  const at::NoGradGuard no_grad;
  const std::vector<int64_t> ids{3, 0, 17, 9};
  for (const auto* data : {tags.get(), labels.get()})
    for (const auto pooling : {Pooling::kPooler, Pooling::kCls, Pooling::kMean}) {
      const auto model = model_of(*data, 5, pooling);
      const Batch batch = data->get(ids);
      const auto expected = model->logits(batch, Pass{});
      const auto found = model->logits_from(model->hidden_states(batch, Pass{}), batch, Pass{});
      EXPECT_TRUE(at::equal(found, expected)) << (found - expected).abs().max();
    }
}

Observation with(std::vector<std::vector<int32_t>> gold, std::vector<std::vector<int32_t>> predicted) {
  Observation o;
  o.gold = std::move(gold);
  o.predicted = std::move(predicted);
  return o;
}

TEST(PairedCountsOf, EntitiesOfEachTextOverAllTypes) {
  const std::vector<std::string> labels{"O", "B-P", "I-P", "B-Q", "I-Q"};
  const std::vector<std::vector<int32_t>> gold{{1, 2, 0, 3}, {}, {0, 0}};
  const auto champion = with(gold, {{1, 2, 0, 1}, {}, {0, 2}}), challenger = with(gold, {{1, 0, 0, 3}, {}, {3, 1}});
  const PairedCounts counts = paired_counts(champion, challenger, labels, Task::kTokenClassification);
  EXPECT_EQ(counts.width, 3);
  EXPECT_EQ(counts.champion, (std::vector<int64_t>{1, 2, 2, 0, 0, 0, 0, 0, 0}));    // I-P alone is no entity
  EXPECT_EQ(counts.challenger, (std::vector<int64_t>{1, 2, 2, 0, 0, 0, 0, 2, 0}));  // a shorter P is another one
  EXPECT_TRUE(counts.strata.empty());
}

TEST(PairedCountsOf, ClassesAndWhatDoesNotFit) {
  const std::vector<std::string> labels{"x", "y", "z"};
  const auto task = Task::kSequenceClassification;
  const std::vector<std::vector<int32_t>> gold{{2}, {0}, {2}};
  const PairedCounts counts = paired_counts(with(gold, {{2}, {1}, {0}}), with(gold, {{1}, {0}, {2}}), labels, task);
  EXPECT_EQ(counts.champion, (std::vector<int64_t>{1, 1, 0, 1, 0, 1}));
  EXPECT_EQ(counts.challenger, (std::vector<int64_t>{0, 1, 1, 1, 1, 1}));
  EXPECT_EQ(counts.strata, (std::vector<int32_t>{2, 0, 2}));
  const auto of = [&](const Observation& a, const Observation& b) { return paired_counts(a, b, labels, task); };
  EXPECT_THROW(of(with({{0}}, {{0}}), with({{1}}, {{0}})), std::invalid_argument);
  EXPECT_THROW(of(with({{0}}, {{0}}), with({{0}, {0}}, {{0}, {0}})), std::invalid_argument);
  EXPECT_THROW(of(with({{0}}, {{0}}), with({{0}}, {})), std::invalid_argument);
  EXPECT_THROW(of(with({{0}}, {{0, 0}}), with({{0}}, {{0}})), std::invalid_argument);
}

TEST(ObservationSample, ViewsWithAndWithoutLabels) {
  Observation o;
  o.dims = 2;
  o.classes = 2;
  o.features = {1, 2, 3, 4};
  o.probabilities = {0.25f, 0.75f, 1, 0};
  o.labels = {1, 0};
  o.quantities = {{"length", {3, 4}}};
  EXPECT_EQ(o.sample(true).examples(), 2);
  EXPECT_EQ(o.sample(true).labels.size(), 2u);
  EXPECT_TRUE(o.sample(false).labels.empty());
  EXPECT_EQ(o.sample(false).probabilities.row(1)[0], 1);
  EXPECT_EQ(o.sample(false).quantities[0].values, (std::vector<double>{3, 4}));
}

}  // namespace
}  // namespace fmtrain
