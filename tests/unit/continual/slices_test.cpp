// Slices of the gate: what a config may write, and which texts it means.
#include "runtime/continual/slices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/errors.h"

namespace fmtrain {
namespace {

using Ids = std::vector<int64_t>;

RawText text(const std::string& content, const std::string& label) {
  RawText raw;
  raw.text = content;
  raw.label = label;
  return raw;
}

RawText tagged(std::vector<std::string> words, std::vector<std::string> tags) {
  RawText raw;
  raw.words = std::move(words);
  raw.tags = std::move(tags);
  return raw;
}

Ids ids(const std::string& slice, const std::vector<RawText>& texts, Task task) {
  const auto all = slice_ids(parse_slices({slice}), texts, task);
  EXPECT_EQ(all.at(0).first, slice);
  return all[0].second;
}

std::string refusal(const std::vector<std::string>& texts) {
  try {
    parse_slices(texts);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "taken";
}

TEST(Slices, OfClassifiedTexts) {
  const std::vector<RawText> texts{text("Where is my CARD?", "card"), text("discard  it\tnow ", "other"), text("", "card"),
                                   text("an e-mail, :-)", "card\xC3\xA9"), text("card\xC3\xA9 e-mails", "")};
  const auto of = [&](const std::string& slice) { return ids(slice, texts, Task::kSequenceClassification); };
  EXPECT_EQ(of("label=card"), (Ids{0, 2}));
  EXPECT_EQ(of("label=card\xC3\xA9"), Ids{3});
  EXPECT_EQ(of("label=Card"), Ids{});  // a label's name is exact
  EXPECT_EQ(of("words>=3"), (Ids{0, 1, 3}));
  EXPECT_EQ(of("words>=4"), Ids{0});
  EXPECT_EQ(of("words<3"), (Ids{2, 4}));
  EXPECT_EQ(of("words<1"), Ids{2});
  EXPECT_EQ(of("contains=Card"), Ids{0});  // neither "discard" nor another letter behind it
  EXPECT_EQ(of("contains=e-MAIL"), Ids{3});
  EXPECT_EQ(of("contains=:-)"), Ids{3});
  EXPECT_EQ(of("contains=is my"), Ids{0});
  EXPECT_EQ(of("contains=mail"), Ids{3});
}

TEST(Slices, OfTaggedTexts) {
  const std::vector<RawText> texts{tagged({"Ann", "Lee", "came"}, {"B-PER", "I-PER", "O"}),
                                   tagged({"Rome", "!"}, {"B-LOC", "O"}), tagged({}, {}),
                                   tagged({"came", "to", "Rome"}, {"O", "O", "B-LOC"})};
  const auto of = [&](const std::string& slice) { return ids(slice, texts, Task::kTokenClassification); };
  EXPECT_EQ(of("label=PER"), Ids{0});
  EXPECT_EQ(of("label=LOC"), (Ids{1, 3}));
  EXPECT_EQ(of("label=O"), Ids{});
  EXPECT_EQ(of("words>=3"), (Ids{0, 3}));
  EXPECT_EQ(of("words<3"), (Ids{1, 2}));
  EXPECT_EQ(of("contains=rome"), (Ids{1, 3}));
  EXPECT_EQ(of("contains=came"), (Ids{0, 3}));
  EXPECT_EQ(of("contains=om"), Ids{});
}

TEST(Slices, AllInTheirOrder) {
  const std::vector<RawText> texts{text("a", "x"), text("b b", "y")};
  const auto all = slice_ids(parse_slices({"words>=2", "label=x"}), texts, Task::kSequenceClassification);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0], (std::pair<std::string, Ids>{"words>=2", {1}}));
  EXPECT_EQ(all[1], (std::pair<std::string, Ids>{"label=x", {0}}));
  EXPECT_TRUE(slice_ids(parse_slices({}), texts, Task::kSequenceClassification).empty());
}

TEST(Slices, WhatIsNoneIsNamed) {
  for (const std::string wrong : {"", "label", "labels=x", " label=x", "words=3", "words>3", "length>=3", "Contains=x"})
    EXPECT_THAT(refusal({"label=x", wrong}), testing::HasSubstr(quoted(wrong) + " is no slice")) << wrong;
  for (const std::string wrong : {"label=", "contains=", "words<", "words>="})
    EXPECT_THAT(refusal({wrong}), testing::HasSubstr(quoted(wrong) + " has nothing")) << wrong;
  for (const std::string wrong : {"words<0", "words>=-1", "words>=1.5", "words>=1e3", "words>= 3", "words>=3 ", "words<=3",
                                  "words<1000001", "words>=99999999999999999999"})
    EXPECT_THAT(refusal({wrong}), testing::HasSubstr(quoted(wrong) + " needs a whole number")) << wrong;
  EXPECT_THAT(refusal({"label=x", "words<3", "label=x"}), testing::HasSubstr("label=x"));
  EXPECT_THAT(refusal({"label=x", "words<3", "label=x"}), testing::HasSubstr("twice"));
  EXPECT_THAT(refusal({"label\n<script>"}), testing::HasSubstr("\\x0a"));  // one plain line
  EXPECT_EQ(refusal({"label=x", "label=X", "words<3", "words>=3"}), "taken");
}

}  // namespace
}  // namespace fmtrain
