// Prepared samples as batches.
#include "runtime/data/dataset.h"

#include <gmock/gmock.h>
#include <ATen/ATen.h>

#include "runtime/data/prepare.h"
#include "runtime/errors.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/text/small_tokenizer.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;

std::vector<int64_t> values(const at::Tensor& t) {
  const auto flat = t.contiguous();
  return {flat.data_ptr<int64_t>(), flat.data_ptr<int64_t>() + flat.numel()};
}

class DatasetTest : public TemporaryFolder {
 protected:
  std::unique_ptr<Dataset> open(const std::string& content, Task task, int64_t limit = -1, int64_t max_length = 128) {
    const auto tokenizer = small_tokenizer(folder_ / "model");
    const std::string input = task == Task::kTokenClassification ? "in.conll" : "in.csv";
    write(input, content);
    PrepareOptions options;
    options.task = task;
    options.max_length = max_length;
    prepare_file(path(input), options, *tokenizer, path("out.h5"));
    return open_dataset(path("out.h5"), tokenizer->vocab_size(), limit);
  }
};

const std::string kTagged = "ab\tB-P\n\u200b\tI-P\nc\tI-P\n\nd\tO\n\ne\tB-P\nfg\tO\n";

TEST_F(DatasetTest, TaggedSamplesInTheOrderAsked) {
  const auto data = open(kTagged, Task::kTokenClassification);
  ASSERT_EQ(data->size(), 3);
  EXPECT_THAT(data->lengths(), ElementsAre(5, 3, 5));
  EXPECT_THAT(data->valid_targets(), ElementsAre(2, 1, 2));
  EXPECT_THAT(data->texts(), ElementsAre(0, 1, 2));
  EXPECT_EQ(data->info().tokens, 13);
  const std::vector<int64_t> ids{2, 0};
  const Batch b = data->get(ids);
  EXPECT_THAT(values(b.tokens),
              ElementsAre(kCls, front('e'), front('f'), inside('g'), kSep, kCls, front('a'), inside('b'), front('c'), kSep));
  EXPECT_THAT(values(b.types), ElementsAre(0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(values(b.positions), ElementsAre(0, 1, 2, 3, 4, 0, 1, 2, 3, 4));
  EXPECT_THAT(values(b.offsets), ElementsAre(0, 5, 10));
  EXPECT_THAT(values(b.sample_ids), ElementsAre(2, 0));
  EXPECT_THAT(values(b.targets), ElementsAre(-100, 1, 0, -100, -100, -100, 1, -100, 2, -100));
  EXPECT_EQ(b.valid_targets, 4);
  EXPECT_THAT(data->words(0).gold, ElementsAre(1, 2, 2));
  EXPECT_THAT(data->words(0).token, ElementsAre(1, -1, 3));
}

TEST_F(DatasetTest, LabelledSamples) {
  const auto data = open("text,label\na,x\nbc,y\n", Task::kSequenceClassification);
  const std::vector<int64_t> ids{1, 0, 1};
  const Batch b = data->get(ids);
  EXPECT_THAT(values(b.targets), ElementsAre(1, 0, 1));
  EXPECT_THAT(values(b.offsets), ElementsAre(0, 4, 7, 11));
  EXPECT_EQ(b.valid_targets, 3);
  EXPECT_EQ(data->label(0), 0);
  EXPECT_EQ(data->label(1), 1);
}

TEST_F(DatasetTest, EmptyBatch) {
  const Batch b = open(kTagged, Task::kTokenClassification)->get({});
  EXPECT_EQ(b.length(), 0);
  EXPECT_EQ(b.samples(), 0);
  EXPECT_EQ(b.valid_targets, 0);
}

TEST_F(DatasetTest, LimitTakesTheFirstSamples) {
  const auto two = open(kTagged, Task::kTokenClassification, 2);
  EXPECT_EQ(two->size(), 2);
  EXPECT_EQ(two->info().tokens, 8);
  EXPECT_EQ(two->info().texts, 2);
  EXPECT_EQ(open(kTagged, Task::kTokenClassification, 0)->size(), 0);
  EXPECT_EQ(open(kTagged, Task::kTokenClassification, 99)->size(), 3);
}

TEST_F(DatasetTest, SplitSamplesKeepTheirText) {
  const auto data = open("aaa\tO\nbb\tO\nc\tO\n\nd\tO\n", Task::kTokenClassification, -1, 6);
  EXPECT_THAT(data->texts(), ElementsAre(0, 0, 1));
  EXPECT_EQ(data->info().texts, 2);
}

TEST_F(DatasetTest, TokenOutsideTheVocabulary) {
  open("a\tO\nz\tO\n", Task::kTokenClassification);
  EXPECT_NO_THROW(open_dataset(path("out.h5"), front('z') + 1));
  EXPECT_THROW(
      try { open_dataset(path("out.h5"), front('z')); } catch (const DataError& error) {
        EXPECT_EQ(error.what(), path("out.h5") + ": token id 30 is outside the model's vocabulary of 30");
        throw;
      },
      DataError);
}

}  // namespace
}  // namespace fmtrain
