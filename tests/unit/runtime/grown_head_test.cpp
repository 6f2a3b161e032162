// Fine-tuning a result of one's own: the head keeps its rows by their labels and grows by those that are new.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <functional>
#include <map>
#include <mutex>

#include "comm/thread_communicator.h"
#include "runtime/data/prepare.h"
#include "runtime/errors.h"
#include "runtime/run_inputs.h"
#include "tests/unit/runtime/tiny_model.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Labels = std::vector<std::string>;

const Labels kGrown{"O", "B-P", "I-P", "B-A", "I-A"};

class GrownHead : public TinyModelFolder {
 protected:
  void SetUp() override {
    TinyModelFolder::SetUp();
    set_cache_dir(path("home"));
    bend("base/config.json",
         [](Json& j) { j["initializer_range"] = tiny_shape(Task::kTokenClassification, 3).initializer_range; });
    old_ = model(1, 3);
    for (auto& p : old_->parameters())  // a bias of zeros would tell nothing
      if (p.name == "classifier.bias") p.value.data().copy_(at::arange(1, 4));
    write_model(*old_, kTags);
    write("train.conll", "ab\tB-P\nc\tB-A\nd\tI-A\n");
  }
  static std::unique_ptr<TaskModel> model(uint64_t seed, int64_t labels, Task task = Task::kTokenClassification) {
    return make_bert(tiny_shape(task, labels), seed);
  }
  Config config(const std::string& train, uint64_t seed = 7) const {
    Config config;
    config.model.path = path("model");
    config.data.train = path(train);
    config.data.max_length = 16;
    config.run.seed = seed;
    return config;
  }
  RunInputs loaded(const Config& config) const {
    RunInputs inputs;
    run_ranks(1, [&](Communicator& comm) { inputs = load_inputs(config, comm, at::kCPU); });
    return inputs;
  }
  static at::Tensor parameter(TaskModel& model, const std::string& name) {
    for (const auto& p : model.parameters())
      if (p.name == name) return p.value.detach();
    throw std::logic_error(name);
  }
  /// Row `row` of both tensors of the head is row `from` of the other model's.
  static void expect_row(TaskModel& model, int64_t row, TaskModel& other, int64_t from) {
    for (const char* name : {"classifier.weight", "classifier.bias"})
      EXPECT_TRUE(at::equal(parameter(model, name)[row], parameter(other, name)[from])) << name << " " << row;
  }
  template <class E>
  static std::string message(const std::function<void()>& action) {
    try {
      action();
    } catch (const E& error) {
      return error.what();
    }
    return "no such error";
  }
  std::unique_ptr<TaskModel> old_;
};

TEST_F(GrownHead, LabelsKeepTheirOrderAndNewOnesFollow) {
  EXPECT_EQ(grown_labels(kTags, {"O", "B-A", "I-A", "B-P", "I-P", "B-Q", "I-Q"}),
            (Labels{"O", "B-P", "I-P", "B-A", "I-A", "B-Q", "I-Q"}));
  EXPECT_EQ(grown_labels({"z", "a"}, {"a", "b", "z"}), (Labels{"z", "a", "b"}));
  EXPECT_EQ(grown_labels({}, {"b", "a"}), (Labels{"b", "a"}));
}

TEST_F(GrownHead, OldRowsAreKeptAndNewOnesAreThoseOfANewHead) {
  const auto inputs = loaded(config("train.conll"));
  EXPECT_EQ(inputs.labels, kGrown);
  EXPECT_EQ(inputs.train->info().labels, kGrown);
  const auto words = inputs.train->words(0);
  EXPECT_THAT(std::vector(words.gold.begin(), words.gold.end()), ElementsAre(1, 3, 4));
  const auto fresh = model(7, 5);
  for (int64_t row = 0; row < 5; ++row) expect_row(*inputs.model, row, row < 3 ? *old_ : *fresh, row);
  for (const auto& p : old_->parameters()) {
    if (p.name.starts_with("classifier.")) continue;
    EXPECT_TRUE(at::equal(parameter(*inputs.model, p.name), p.value)) << p.name;
  }
  EXPECT_THAT(inputs.notes, ElementsAre("head: 3 labels as in the model, 2 new"));
}

TEST_F(GrownHead, AFileWithFewerLabelsKeepsTheWholeHead) {
  write("few.conll", "ab\tO\n");
  const auto inputs = loaded(config("few.conll"));
  EXPECT_EQ(inputs.labels, kTags);
  EXPECT_EQ(weights_sha256(*inputs.model), weights_sha256(*old_));
}

TEST_F(GrownHead, RowsAreFoundByTheirLabels) {
  const auto target = model(9, 5), fresh = model(9, 5);
  load_weights(*target, path("model"), HeadLabels{kTags, {"B-A", "I-P", "O", "I-A", "B-P"}});
  expect_row(*target, 0, *fresh, 0);
  expect_row(*target, 1, *old_, 2);
  expect_row(*target, 2, *old_, 0);
  expect_row(*target, 3, *fresh, 3);
  expect_row(*target, 4, *old_, 1);
}

TEST_F(GrownHead, ClassesOfTextsGrowToo) {
  const auto old = model(3, 2, Task::kSequenceClassification);
  write_model(*old, {"no", "ah"});
  write("train.jsonl", "{\"text\":\"ab\",\"label\":\"zz\"}\n{\"text\":\"c\",\"label\":\"ah\"}\n");
  auto c = config("train.jsonl");
  c.model.task = Task::kSequenceClassification;
  const auto inputs = loaded(c);
  EXPECT_EQ(inputs.labels, (Labels{"no", "ah", "zz"}));
  EXPECT_EQ(inputs.train->label(0), 2);
  EXPECT_EQ(inputs.train->label(1), 1);
  expect_row(*inputs.model, 1, *old, 1);
  expect_row(*inputs.model, 2, *model(7, 3, Task::kSequenceClassification), 2);
}

/// As many labels, and none of them means the same.
TEST_F(GrownHead, TheHeadOfAnotherTaskIsNotUsed) {
  write("three.jsonl",
        "{\"text\":\"a\",\"label\":\"O\"}\n{\"text\":\"b\",\"label\":\"B-P\"}\n{\"text\":\"c\",\"label\":\"z\"}\n");
  auto c = config("three.jsonl");
  c.model.task = Task::kSequenceClassification;
  const auto inputs = loaded(c);
  EXPECT_EQ(inputs.labels, (Labels{"B-P", "O", "z"}));
  const auto fresh = model(7, 3, Task::kSequenceClassification);
  for (int64_t row = 0; row < 3; ++row) expect_row(*inputs.model, row, *fresh, row);
}

TEST_F(GrownHead, ARandomStartKnowsNoLabels) {
  auto c = config("train.conll");
  c.model.init = Init::kRandom;
  EXPECT_EQ(loaded(c).labels, (Labels{"O", "B-A", "I-A", "B-P", "I-P"}));
}

TEST_F(GrownHead, EveryNumberOfRanksLoadsTheSame) {
  std::map<int, std::string> one, two;
  for (auto* found : {&one, &two})
    run_ranks(found == &one ? 1 : 2, [&, found](Communicator& comm) {
      const auto inputs = load_inputs(config("train.conll"), comm, at::kCPU);
      const auto sha256 = weights_sha256(*inputs.model);
      static std::mutex mutex;
      const std::lock_guard lock(mutex);
      (*found)[comm.rank()] = sha256;
    });
  EXPECT_EQ(two, (std::map<int, std::string>{{0, one.at(0)}, {1, one.at(0)}}));
}

TEST_F(GrownHead, APreparedFileOfOtherLabelsIsRefused) {
  const auto prepared = [&](const std::string& name, const Labels& labels) {
    PrepareOptions options;
    options.max_length = 16;
    options.labels = labels;
    prepare_file(path("train.conll"), options, *tokenizer_, path(name));
    return config(name);
  };
  EXPECT_EQ(loaded(prepared("same.h5", kGrown)).labels, kGrown);
  const auto other = prepared("other.h5", {});  // O, A, P
  const auto says = testing::AllOf(HasSubstr("other.h5: was prepared with other labels than the 3 of the model"),
                                   HasSubstr("name the raw file in data.train"));
  EXPECT_THAT(message<DataError>([&] { loaded(other); }), says);
  EXPECT_THAT(message<DataError>([&] { prepare_inputs(other); }), says);
  auto validation = config("train.conll");
  validation.data.validation = path("other.h5");
  EXPECT_THAT(message<DataError>([&] { loaded(validation); }),
              HasSubstr("its labels differ from those of data.train; name the raw file instead"));
}

TEST_F(GrownHead, AValidationFileMayLackLabelsButNotAddAny) {
  auto c = config("train.conll");
  write("few.conll", "ab\tB-P\n");
  c.data.validation = path("few.conll");
  EXPECT_EQ(loaded(c).validation->info().labels, kGrown);
  write("more.conll", "ab\tO\nc\tB-Q\n");
  c.data.validation = path("more.conll");
  EXPECT_THAT(message<DataError>([&] { loaded(c); }),
              HasSubstr("more.conll:2: label \"B-Q\" is not one of the 5 labels of the training set"));
}

TEST_F(GrownHead, HostileLabelsAreRefused) {
  const struct {
    std::function<void(Json&)> change;
    const char* says;
  } cases[] = {{[](Json& j) { j.erase("task"); }, "task"},
               {[](Json& j) { j.erase("labels"); }, "labels"},
               {[](Json& j) { j["labels"] = 3; }, "type"},
               {[](Json& j) { j["labels"] = Labels{}; }, "0 labels"},
               {[](Json& j) {
                  j["labels"] = Labels{"O", "B-P", "B-P"};
                },
                "a label occurs twice"},
               {[](Json& j) {
                  j["labels"] = Labels{"B-P", "I-P", "O"};
                },
                "not O, then B- and I-"},
               {[](Json& j) { j = Json::array(); }, "is not a JSON object"}};
  const std::string good = content("model/fmtrain.json");
  for (const auto& c : cases) {
    bend("model/fmtrain.json", c.change);
    EXPECT_THAT(message<ConfigError>([&] { loaded(config("train.conll")); }),
                testing::AllOf(HasSubstr("fmtrain.json: "), HasSubstr(c.says)));
    write("model/fmtrain.json", good);
  }
  bend("model/fmtrain.json", [](Json& j) { j["labels"] = kGrown; });
  EXPECT_THAT(message<ConfigError>([&] { loaded(config("train.conll")); }),
              HasSubstr("has not one row for each of the 5 labels in fmtrain.json"));
}

}  // namespace
}  // namespace fmtrain
