// All ranks start from the same data and weights, or none goes on; weights are read where they stay.
#include "runtime/run_inputs.h"

#include <gmock/gmock.h>
#include <ATen/ATen.h>

#include <atomic>

#include "comm/thread_communicator.h"
#include "runtime/data/prepare.h"
#include "runtime/engine/engine.h"
#include "runtime/errors.h"
#include "tests/unit/runtime/tiny_model.h"

namespace fmtrain {
namespace {

class RunInputsTest : public TinyModelFolder {
 protected:
  Config config(const std::string& data) const {
    Config config;
    config.model.path = path("base");
    config.model.init = Init::kRandom;
    config.data.train = path(data);
    config.data.max_length = 16;
    return config;
  }
  void prepare(const std::string& name, const std::string& text) const {
    write("in.conll", text);
    PrepareOptions options;
    options.max_length = 16;
    prepare_file(path("in.conll"), options, *tokenizer_, path(name));
  }
};

TEST_F(RunInputsTest, AFileThatIsReplacedBetweenTwoRanksIsRefusedByAll) {
  prepare("one.h5", "ab\tB-P\nc\tO\n");
  prepare("two.h5", "ab\tB-P\nd\tO\n");
  std::filesystem::copy_file(path("one.h5"), path("same.h5"));
  std::atomic<int> loaded{0}, refused{0};
  for (const char* last : {"same.h5", "two.h5"})
    run_ranks(3, [&](Communicator& comm) {
      const Config mine = config(comm.rank() == 2 ? last : "one.h5");
      try {
        load_inputs(mine, comm, at::kCPU);
        ++loaded;
      } catch (const DataError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("ranks read other data than rank 0"));
        ++refused;
      }
    });
  EXPECT_EQ(loaded, 3);
  EXPECT_EQ(refused, 3);
}

/// An engine whose parameters were filled by their readers, beside a model that read its weights by itself. The word table is of two
/// pieces of a file; without fmtrain.json the classifier is read like any other tensor.
class InPlace : public RunInputsTest, public testing::WithParamInterface<bool> {};

TEST_P(InPlace, WeightsAreReadWhereTheyStay) {
  prepare("data.h5", "ab\tB-P\nc\tI-P\n");
  auto shape = tiny_shape(Task::kTokenClassification, 3);
  shape.vocab_size = 6000;
  bend("base/config.json", [](Json& json) { json["vocab_size"] = 6000; });
  write_model(*make_bert(shape, 5), kTags);
  if (!GetParam()) std::filesystem::remove(path("model/fmtrain.json"));
  for (const auto precision : {Precision::kFp32, Precision::kBf16})
    for (const bool freezes : {false, true})
      for (const int stage : {0, 1, 2, 3})
        for (const auto& [ranks, per_node] : {std::pair{1, 1}, {2, 2}, {4, 4}, {4, 2}}) {
          auto mine = config("data.h5");
          mine.model.path = path("model");
          mine.model.init = Init::kPretrained;
          mine.engine.precision = precision;
          if (freezes) mine.finetune.freeze_layers = 1;
          const auto what = ", stage " + std::to_string(stage) + " on " + std::to_string(ranks) + ", " + std::to_string(per_node) + " a host";
          run_ranks(ranks, [&](Communicator& comm) {
            const auto expected = load_inputs(mine, comm, at::kCPU);
            auto inputs = load_inputs(mine, comm, at::kCPU, Base::kLater);
            EXPECT_EQ(inputs.model->parameters()[0].value.storage().nbytes(), 4u) << "no memory yet";
            apply_freeze(mine.finetune, *inputs.model);
            const EncoderFill fill = [&](int index, int of) { load_base(inputs, mine, comm, {index, of}); };
            const ShardGroups groups(comm, precision == Precision::kBf16 && per_node < comm.size() ? ShardGroup::kNode : ShardGroup::kWorld, "h");
            const auto engine = stage == 0 ? make_replicated_engine(*inputs.model, comm, mine.optimizer, true, 0, false, fill)
                                           : make_sharded_engine(*inputs.model, groups, mine.optimizer, stage, true, 0, false, fill);
            EXPECT_EQ(inputs.base_sha256, expected.base_sha256);
            EXPECT_EQ(inputs.notes, expected.notes);
            for (size_t i = 0; i < inputs.model->parameters().size(); ++i) {
              const auto &found = inputs.model->parameters()[i], &wanted = expected.model->parameters()[i];
              EXPECT_TRUE(at::equal(found.value, wanted.value)) << found.name << what;
              const auto low = inputs.model->low_copy(i);
              EXPECT_EQ(low.defined(), expected.model->low_copy(i).defined());
              EXPECT_TRUE(!low.defined() || at::equal(low, expected.model->low_copy(i))) << found.name << what;
            }
            comm.barrier();
          }, per_node);
        }
}

INSTANTIATE_TEST_SUITE_P(WithLabels, InPlace, testing::Bool());

TEST_F(RunInputsTest, WeightsThatAreReplacedBetweenTwoRanksAreRefusedByAll) {
  prepare("data.h5", "ab\tB-P\nc\tI-P\n");
  write_model(*make_bert(tiny_shape(Task::kTokenClassification, 3), 5), kTags);
  std::filesystem::rename(path("model"), path("first"));
  write_model(*make_bert(tiny_shape(Task::kTokenClassification, 3), 6), kTags);
  std::atomic<int> refused{0};
  run_ranks(3, [&](Communicator& comm) {
    auto mine = config("data.h5");
    mine.model.init = Init::kPretrained;
    mine.model.path = path(comm.rank() == 1 ? "model" : "first");
    try {
      load_inputs(mine, comm, at::kCPU);
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("model.safetensors, or fmtrain.json beside it: ranks read other data than rank 0; the file was changed while the run started; start again"));
      ++refused;
    }
  });
  EXPECT_EQ(refused, 3);
}

}  // namespace
}  // namespace fmtrain
