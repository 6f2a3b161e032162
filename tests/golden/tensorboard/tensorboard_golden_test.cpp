#include "runtime/report/tensorboard.h"

#include <gmock/gmock.h>

#include <limits>

#include "runtime/errors.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

using EventFileTest = TemporaryFolder;
using testing::ElementsAre;
using testing::Pair;

std::string golden() {
  std::ostringstream text;
  text << std::ifstream(FMTRAIN_SOURCE_DIR "/tests/golden/tensorboard/events.golden", std::ios::binary).rdbuf();
  return text.str();
}

TEST(TfRecord, AnEmptyRecordHasTheKnownChecksums) {
  // crc32c of 8 zero bytes is 0x8c28b28a, of nothing 0; mask = rotate right by 15, add 0xa282ead8.
  EXPECT_EQ(tf_record(""), std::string("\0\0\0\0\0\0\0\0\x29\x03\x98\x07\xd8\xea\x82\xa2", 16));
}

TEST_F(EventFileTest, BytesEqualTensorBoardsOwnWriter) {
  std::string name;
  {
    EventFile events(folder_.string(), 1700000000.5, 301);
    events.add(1700000001.25, 301, {{"train/loss", 0.1}, {"train/lr", 2e-4}, {"eval/test/f1", 1.0 / 3}});
    events.add(1700000002, 302, {});  // nothing to say: no record
    name = std::filesystem::path(events.path()).filename();
  }
  EXPECT_THAT(name, testing::StartsWith("events.out.tfevents.1700000000."));
  ASSERT_FALSE(golden().empty());
  EXPECT_EQ(content(name), golden());
}

TEST_F(EventFileTest, ARecordIsInTheFileAtOnce) {
  EventFile events(folder_.string(), 1700000000.5, 301);
  const auto before = std::filesystem::file_size(events.path());
  events.add(1, 1, {{"a", 1}});
  EXPECT_EQ(std::filesystem::file_size(events.path()), before + tf_record(scalar_event(1, 1, {{"a", 1}})).size());
}

TEST(EventFile, NeedsAFolder) { EXPECT_THROW(EventFile("/no/such/folder", 0, 0), StorageError); }

TEST(ScalarEvent, LongTagsNeedTwoLengthBytes) {
  const std::string tag(200, 't'), event = scalar_event(0, 1, {{tag, 1}});
  // 9 bytes of wall_time, 2 of step, then summary (2a), its length, value (0a), its length, tag (0a), 200 as varint c8 01.
  EXPECT_EQ(event.substr(9, 10), std::string("\x10\x01\x2a\xd3\x01\x0a\xd0\x01\x0a\xc8", 10));
  EXPECT_EQ(event.size(), 9u + 2 + 3 + 3 + 3 + 200 + 5);
}

TEST(Scalars, OfAStep) {
  const Json line{{"step", 3}, {"loss", 0.5}, {"lr", 1e-3}, {"grad_norm", nullptr}, {"samples", 32}, {"seconds", {{"total", 0.25}}}};
  EXPECT_THAT(step_scalars(line), ElementsAre(Pair("train/loss", 0.5), Pair("train/lr", 1e-3), Pair("train/samples_per_s", 128)));
}

TEST(Scalars, OfAnEvaluation) {
  const Json line{{"step", 3}, {"split", "test"}, {"loss", 0.5}, {"metrics", {{"f1", 0.25}, {"kappa", nullptr}, {"words", 7}}}};
  EXPECT_THAT(evaluation_scalars(line), ElementsAre(Pair("eval/test/loss", 0.5), Pair("eval/test/f1", 0.25), Pair("eval/test/words", 7)));
}

}  // namespace
}  // namespace fmtrain
