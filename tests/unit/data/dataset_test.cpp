// Prepared samples as batches.
#include "runtime/data/dataset.h"

#include <gmock/gmock.h>
#include <ATen/ATen.h>

#include <fstream>
#include <sstream>

#include "runtime/data/dataset_file.h"
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
  EXPECT_THAT(values(b.target_rows), ElementsAre(1, 2, 6, 8));
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
  EXPECT_FALSE(b.target_rows.defined());
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

// ---- files that are too large for memory ------------------------------------------------------------

class LargeFile : public TemporaryFolder {
 protected:
  static constexpr int64_t kSamples = 1500;
  /// Samples of 1 to 200 ids, so that the ids fill more than two chunks, and many samples lie in two blocks.
  void SetUp() override {
    TemporaryFolder::SetUp();
    DatasetFile data;
    data.info.task = Task::kSequenceClassification;
    data.info.labels = {"x", "y"};
    data.info.max_length = 200;
    data.info.texts = kSamples;
    for (int32_t s = 0; s < kSamples; ++s) {
      for (int32_t t = 0; t <= s * 37 % 200; ++t) data.tokens.push_back((s * 7919 + t * t * 31 + s * t * 17) % 30000);
      data.offsets.push_back(static_cast<int64_t>(data.tokens.size()));
      data.texts.push_back(s);
      data.labels.push_back(s % 2);
    }
    write_dataset_file(data, path("large.h5"));
  }
  std::unique_ptr<Dataset> open(int64_t in_memory, int64_t vocab = 30000, int64_t limit = -1) { return open_dataset(path("large.h5"), vocab, limit, in_memory); }

  /// The place in the file of the ids of sample s, which are looked for as they are stored.
  std::streamoff place(int64_t s) {
    const auto whole = open(kTokensInMemory);
    const std::vector<int64_t> one{s};
    std::string bytes;
    for (const int64_t id : values(whole->get(one).tokens)) bytes.append({static_cast<char>(id & 255), static_cast<char>(id >> 8), 0, 0});
    std::ostringstream content;
    content << std::ifstream(path("large.h5"), std::ios::binary).rdbuf();
    const auto at = content.str().find(bytes);
    EXPECT_NE(at, std::string::npos);
    return static_cast<std::streamoff>(at);
  }
  std::string refusal(const Dataset& data, int64_t s) {
    const std::vector<int64_t> one{s};
    try {
      data.get(one);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(LargeFile, GivesTheSameBatches) {
  const auto memory = open(kTokensInMemory), disk = open(0);
  EXPECT_GT(memory->info().tokens, 2 * 65536);
  EXPECT_EQ(memory->info().content_sha256, disk->info().content_sha256);
  EXPECT_EQ(memory->info().tokens, disk->info().tokens);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < kSamples; ++i) ids.push_back(i * 7 % kSamples);
  const Batch a = memory->get(ids), b = disk->get(ids);
  EXPECT_TRUE(at::equal(a.tokens, b.tokens) && at::equal(a.positions, b.positions) && at::equal(a.offsets, b.offsets) && at::equal(a.targets, b.targets));
  EXPECT_EQ(open(0, 30000, 10)->size(), 10);
  EXPECT_THROW(open(0, 1000), DataError);
}

TEST_F(LargeFile, WhatChangesAfterwardsIsNotUsed) {
  const auto at = place(700);
  const auto disk = open(0);
  EXPECT_EQ(refusal(*disk, 700), "");
  {
    std::fstream file(path("large.h5"), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file.put('\x7f');
  }
  EXPECT_THAT(refusal(*disk, 700), testing::AllOf(testing::StartsWith(path("large.h5") + ": data set tokens: elements "), testing::HasSubstr("have changed since the file was opened")));
  EXPECT_EQ(refusal(*disk, 0), "") << "of another block";
  std::filesystem::resize_file(path("large.h5"), static_cast<uintmax_t>(at));
  EXPECT_NE(refusal(*disk, 1499), "");
}

TEST_F(LargeFile, DamagedBefore) {
  std::fstream file(path("large.h5"), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(place(700));
  file.put('\x7f').flush();
  EXPECT_THROW(
      try { open(0); } catch (const DataError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("is damaged (checksum) in the chunk of elements 65536 to 131071"));
        throw;
      },
      DataError);
}

}  // namespace
}  // namespace fmtrain
