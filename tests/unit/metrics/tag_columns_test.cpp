#include "runtime/metrics/tag_columns.h"

#include <gmock/gmock.h>

#include "runtime/errors.h"

namespace fmtrain {
namespace {

std::string failure(const std::string& content) {
  try {
    score_tag_columns(content, "f.conll");
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(TagColumns, EveryWayToDivideColumnsAndLinesIsTheSame) {
  const TaggingCounts counts = score_tag_columns("EU\tB-ORG\tB-ORG\nrejects\tO\tB-ORG\n\nPeter\tB-PER\tO\n", "f");
  EXPECT_EQ(counts.texts(), 2);
  EXPECT_EQ(counts.tags().labels(), (std::vector<std::string>{"O", "B-ORG", "B-PER"}));
  EXPECT_EQ(counts.entities(EntityMode::kStrict)[0].predicted, 2);
  for (const char* same :
       {"EU\tB-ORG\tB-ORG\r\nrejects\tO\tB-ORG\r\n\r\nPeter\tB-PER\tO\r\n", "EU B-ORG B-ORG\nrejects O B-ORG\n\nPeter B-PER O",
        "\n\nEU NNP x B-ORG B-ORG \nrejects  V  O \t B-ORG\n \t\n\n\nPeter Smith B-PER O\n\n",
        "# B-ORG B-ORG\n\xff O B-ORG\n\n... B-PER O"})
    EXPECT_EQ(score_tag_columns(same, "f").values(), counts.values()) << same;
}

TEST(TagColumns, ASentenceEndEndsAnEntity) {
  const TaggingCounts one = score_tag_columns("a B-X B-X\nb I-X I-X\n", "f"),
                      two = score_tag_columns("a B-X B-X\n\nb I-X I-X\n", "f");
  EXPECT_EQ(one.entities(EntityMode::kLenient)[0].truth, 1);
  EXPECT_EQ(two.entities(EntityMode::kLenient)[0].truth, 2);
  EXPECT_EQ(two.entities(EntityMode::kStrict)[0].truth, 1);
}

TEST(TagColumns, FaultsNameTheLine) {
  EXPECT_THAT(failure("a O O\nb O\n"), testing::StartsWith("f.conll:2: \"b O\": expected word, gold tag and predicted tag"));
  EXPECT_THAT(failure("a\n"), testing::StartsWith("f.conll:1: "));
  EXPECT_THAT(failure("\tO\tO\n"), testing::StartsWith("f.conll:1: "));
  EXPECT_EQ(failure("a O O\n\nb O S-PER\n"), "f.conll:3: invalid tag \"S-PER\"; tags are O, B-TYPE and I-TYPE");
  EXPECT_EQ(failure("a O B-\n"), "f.conll:1: invalid tag \"B-\"; tags are O, B-TYPE and I-TYPE");
  EXPECT_THAT(failure("a O B-\x1b[2J\n"), testing::StartsWith("f.conll:1: invalid tag \"B-\\x1b"));
  EXPECT_THAT(failure("a O B-\xff\n"), testing::StartsWith("f.conll:1: invalid tag \"B-\\xff"));
  EXPECT_THAT(failure(std::string("a O B-\0x\n", 9)), testing::StartsWith("f.conll:1: invalid tag"));
  EXPECT_THAT(failure("a O B-" + std::string(300, 'x') + "\n"), testing::StartsWith("f.conll:1: invalid tag"));
  EXPECT_EQ(failure(""), "f.conll: no words; expected lines with word, gold tag and predicted tag");
  EXPECT_EQ(failure("\r\n \n"), failure(""));
}

TEST(TagColumns, ACountColumnTakenForTagsIsRefusedEarly) {
  std::string words, types;
  for (int i = 0; i < 3000; ++i) {
    words += "w O B-" + std::to_string(i) + "\n";
    if (i <= 1000) types = words;
  }
  EXPECT_THAT(failure(words), testing::StartsWith("f.conll:2001: more than 1,000 entity types"));
  EXPECT_THAT(failure(types), testing::StartsWith("f.conll: more than 1000 entity types"));
}

}  // namespace
}  // namespace fmtrain
