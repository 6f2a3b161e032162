// The store of texts: what came in comes out, hostile files stop nothing, and a kill at any call repeats to the same files.
#include "runtime/continual/text_store.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <functional>

#include "runtime/continual/incoming_files.h"
#include "runtime/errors.h"
#include "tests/support/fail_files.h"
#include "tests/unit/continual/store_folder.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class TextStoreTest : public StoreFolder {
 protected:
  std::string checkpoint_error(const std::function<void()>& action) const {
    try {
      action();
    } catch (const CheckpointError& error) {
      return error.what();
    }
    return "no CheckpointError";
  }
};

TEST_F(TextStoreTest, WhatCameInComesOut) {
  write("train.conll", "New\tB-P\nYork\tI-P\n\nit\tO\n");
  const auto batch = tags().add(TextRole::kTrain, path("train.conll"), Format::kAuto, {}, "", 77);
  EXPECT_EQ(batch, (StoredBatch{1, TextRole::kTrain, "train.conll", sha256_file(path("train.conll")),
                                sha256_file(path("registry/texts/000001.conll")), 77, 2, true}));
  EXPECT_THAT(tags().batches(), ElementsAre(batch));
  const auto texts = tags().read(batch);
  ASSERT_EQ(texts.size(), 2u);
  EXPECT_THAT(texts[0].raw.words, ElementsAre("New", "York"));
  EXPECT_THAT(texts[0].raw.tags, ElementsAre("B-P", "I-P"));
  EXPECT_EQ(texts[0].hash, content_hash("New York"));
  EXPECT_EQ(texts[1].hash, content_hash("it"));
  EXPECT_EQ(texts[1].batch, 1);
}

TEST_F(TextStoreTest, AFileIsTakenOnceForARole) {
  write("a.csv", "text,label\nhello,x\n");
  const auto first = labels().add(TextRole::kTrain, path("a.csv"), Format::kAuto, {}, "", 5);
  EXPECT_EQ(labels().add(TextRole::kTrain, path("a.csv"), Format::kAuto, {}, "", 6), first);
  const auto second = labels().add(TextRole::kCore, path("a.csv"), Format::kAuto, {}, "", 7);
  EXPECT_EQ(second.number, 2);
  EXPECT_THAT(labels().batches(), ElementsAre(first, second));
  EXPECT_EQ(labels().read(first)[0].raw.label, "x");
}

TEST_F(TextStoreTest, WhatHoldsNoTextsIsRefused) {
  write("empty.csv", "text,label\n");
  write("some.h5", "");
  write("bad.csv", "text,label\nhello\n");
  for (const auto& [name, says] : {std::pair{"empty.csv", "holds no text"},
                                   {"some.h5", "is a prepared file"},
                                   {"bad.csv", "bad.csv:2: "},
                                   {"none.csv", "no such file"}})
    EXPECT_THAT([&] { labels().add(TextRole::kTrain, path(name), Format::kAuto, {}, "", 5); },
                testing::ThrowsMessage<DataError>(HasSubstr(says)));
  EXPECT_TRUE(labels().batches().empty());
}

TEST_F(TextStoreTest, IncomingFilesInTheOrderOfTheirNames) {
  incoming("b.jsonl", "{\"text\":\"b\",\"label\":\"x\"}\n");
  incoming("a.tsv", "text\tlabel\na\ty\n");
  incoming("unlabelled/c.jsonl", "{\"text\":\"one\\ntwo\",\"id\":7}\n{\"text\":\"  \"}\n");
  incoming("unlabelled/b.txt", "a line\r\n\n  another\n");
  for (const char* name : {".hidden", "b.jsonl.part", "x.tmp", "a.tsv~"}) incoming(name, "half of it");
  std::filesystem::create_directories(folder_ / "incoming/folder");
  const auto taken = take(labels());
  EXPECT_TRUE(taken.refused.empty());
  EXPECT_THAT(names(taken.batches), ElementsAre("a.tsv", "b.jsonl", "b.txt", "c.jsonl"));
  EXPECT_EQ(labels().batches(), taken.batches);
  EXPECT_FALSE(taken.batches[2].labelled);
  const auto lines = labels().read(taken.batches[2]), json = labels().read(taken.batches[3]);
  ASSERT_EQ(lines.size(), 2u);
  ASSERT_EQ(json.size(), 1u);
  EXPECT_EQ(lines[1].raw.text, "  another");
  EXPECT_EQ(lines[1].raw.label, "");
  EXPECT_EQ(lines[1].hash, content_hash("another"));
  EXPECT_EQ(json[0].raw.text, "one\ntwo");
  EXPECT_TRUE(take(labels()).batches.empty());
}

TEST_F(TextStoreTest, UnlabelledWordsAreCutAtWhiteSpace) {
  incoming("unlabelled/a.txt", " New\tYork \v is\n");
  incoming("unlabelled/b.jsonl", "{\"text\":\"two\\nlines\"}\n");
  const auto taken = take(tags());
  ASSERT_EQ(taken.batches.size(), 2u);
  const auto text = tags().read(taken.batches[0])[0];
  EXPECT_THAT(text.raw.words, ElementsAre("New", "York", "is"));
  EXPECT_THAT(text.raw.tags, ElementsAre("O", "O", "O"));
  EXPECT_EQ(text.hash, content_hash("New York is"));
  EXPECT_THAT(tags().read(taken.batches[1])[0].raw.words, ElementsAre("two", "lines"));
}

TEST_F(TextStoreTest, SameBytesUnderTwoNamesAreOneBatch) {
  incoming("a.jsonl", "{\"text\":\"a\",\"label\":\"x\"}\n");
  incoming("b.jsonl", "{\"text\":\"a\",\"label\":\"x\"}\n");
  incoming("unlabelled/c.jsonl", "{\"text\":\"a\",\"label\":\"x\"}\n");
  EXPECT_THAT(names(take(labels()).batches), ElementsAre("a.jsonl"));
}

TEST_F(TextStoreTest, LabelsMayComeLater) {
  incoming("unlabelled/a.jsonl", "{\"text\":\"a\",\"label\":\"x\"}\n");
  EXPECT_EQ(take(labels()).batches.size(), 1u);
  incoming("a.jsonl", "{\"text\":\"a\",\"label\":\"x\"}\n");
  const auto taken = take(labels());
  ASSERT_EQ(taken.batches.size(), 1u);
  EXPECT_TRUE(taken.batches[0].labelled);
  EXPECT_TRUE(take(labels()).batches.empty());
}

TEST_F(TextStoreTest, HostileFilesAreRefusedAndTheRestIsTaken) {
  incoming("a.jsonl", "{\"text\":\"a\",\"label\":\"x\"}\n{\"text\":\"b\"}\n");
  incoming("binary.csv", std::string("text,label\n\0,x\n", 14));
  incoming("good.csv", "text,label\nhello,x\n");
  incoming("huge.csv", "");
  std::filesystem::resize_file(folder_ / "incoming/huge.csv", kLargestIncoming + 1);
  incoming("line\nbreak.csv", "text,label\nhello,x\n");
  incoming("not utf8 \xFF.csv", "text,label\nhello,x\n");
  write("secret.csv", "text,label\nsecret,x\n");
  std::filesystem::create_symlink(path("secret.csv"), folder_ / "incoming/link.csv");
  ASSERT_EQ(::mkfifo(path("incoming/pipe.csv").c_str(), 0600), 0);
  incoming("unlabelled/array.jsonl", "[1]\n");
  incoming("unlabelled/text.jsonl", "{\"text\":7}\n");
  const std::string in = path("incoming") + "/";
  const auto taken = take(labels());
  EXPECT_THAT(names(taken.batches), ElementsAre("good.csv"));
  EXPECT_THAT(taken.refused,
              ElementsAre(StartsWith(path("incoming") + "/: a file is named \"line\\x0abreak.csv\""),
                          HasSubstr("a file is named \"not utf8 \\xff.csv\""), in + "a.jsonl:2: no member \"label\"",
                          StartsWith(in + "binary.csv:2: byte 11 of the file: invalid UTF-8 or NUL"),
                          in + "huge.csv: is larger than 256 MiB; divide it into several files",
                          in + "link.csv: is a link; put the file itself there", in + "pipe.csv: is not a plain file",
                          StartsWith(in + "unlabelled/array.jsonl:1: expected a JSON object"),
                          StartsWith(in + "unlabelled/text.jsonl:1: expected a JSON object")));
  incoming("a.jsonl", "{\"text\":\"a\",\"label\":\"x\"}\n");  // mended
  EXPECT_THAT(names(take(labels()).batches), ElementsAre("a.jsonl"));
}

TEST_F(TextStoreTest, AFolderThatIsALinkIsNotFollowed) {
  std::filesystem::create_directories(folder_ / "elsewhere");
  write("elsewhere/a.txt", "secret\n");
  std::filesystem::create_directories(folder_ / "incoming");
  std::filesystem::create_directory_symlink(folder_ / "elsewhere", folder_ / "incoming/unlabelled");
  EXPECT_THAT(take(labels()).refused, ElementsAre(path("incoming/unlabelled") + ": is a link; put the file itself there"));
  std::filesystem::create_directory_symlink(folder_ / "elsewhere", folder_ / "registry/texts");
  incoming("a.csv", "text,label\nhello,x\n");
  EXPECT_THROW(take(labels()), StorageError);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_ / "elsewhere"), {}), 1);
}

TEST_F(TextStoreTest, DamageIsNamed) {
  fill(labels());
  for (const char* name : {"registry/texts/000002.json", "registry/texts/000002.jsonl"}) {
    const std::string whole = content(name);
    for (size_t i = 0; i < whole.size(); ++i) {
      std::string bent = whole;
      bent[i] = static_cast<char>(bent[i] ^ 1);
      write(name, bent);
      EXPECT_THAT(checkpoint_error([&] { labels().read(labels().batches().at(1)); }), HasSubstr(path(name))) << i;
    }
    write(name, whole);
  }
  EXPECT_THAT(checkpoint_error([&] { tags().batches(); }), HasSubstr("000001.json: is of another task"));
  std::filesystem::remove(folder_ / "registry/texts/000002.json");
  EXPECT_THAT(checkpoint_error([&] { labels().batches(); }), HasSubstr("000002.json: is missing"));
}

/// The process ends at call `at`: every later call fails, also those that would clean up. Then it is repeated.
TEST_F(TextStoreTest, AKillAtAnyCallRepeatsToTheSameFiles) {
  FailFiles files;
  fill(labels(files));
  const auto calls = files.calls();
  const auto expected = all_files("registry");
  EXPECT_EQ(expected.size(), 8u);
  for (int64_t at = 1; at <= calls; ++at) {
    clear_registry();
    files.fail_at(at, EIO, true);
    try {
      fill(labels(files));
    } catch (const StorageError&) {
    }
    EXPECT_TRUE(files.failed()) << at;
    EXPECT_EQ(files.open_files(), 0) << at;
    files.fail_at(0, 0);
    fill(labels(files));
    EXPECT_EQ(all_files("registry"), expected) << at;
  }
}

/// One call fails. What cannot be read now is taken the next time, under a later number.
TEST_F(TextStoreTest, OneFailureLosesNothing) {
  FailFiles files;
  fill(labels(files));
  const auto calls = files.calls();
  const auto expected = sources(labels());
  for (int64_t at = 1; at <= calls; ++at) {
    clear_registry();
    files.fail_at(at, EIO);
    try {
      fill(labels(files));
    } catch (const StorageError&) {
    }
    EXPECT_EQ(files.open_files(), 0) << at;
    files.fail_at(0, 0);
    fill(labels(files));
    EXPECT_EQ(sources(labels()), expected) << at;
    for (const auto& batch : labels().batches()) EXPECT_NO_THROW(labels().read(batch)) << at;
  }
}

}  // namespace
}  // namespace fmtrain
