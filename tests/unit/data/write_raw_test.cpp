// What is written is what is read: texts of any content, in both forms, or a line that says which text cannot be written.
#include "runtime/data/write_raw.h"

#include <gmock/gmock.h>

#include "runtime/draws.h"
#include "runtime/errors.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;

class WriteRaw : public TemporaryFolder {
 protected:
  std::vector<RawText> read_back(const std::vector<RawText>& texts, Task task) const {
    const std::string name = std::string("texts") + raw_extension(task);
    write(name, write_raw(texts, task));
    return read_raw(path(name), task, Format::kAuto, {}, "", nullptr);
  }
  static std::string refusal(const RawText& text, Task task) {
    RawText good;
    good.words = {"a"}, good.tags = {"O"}, good.text = "a", good.label = "l";
    try {
      write_raw(std::vector{good, text}, task);
    } catch (const DataError& error) {
      return error.what();
    }
    return "written";
  }
};

/// Up to four of the pieces, drawn.
std::string drawn(Draws& draws, uint64_t& at, const std::vector<std::string>& pieces) {
  std::string text;
  for (uint64_t n = draws.below(at++, 5); n > 0; --n) text += pieces[draws.below(at++, pieces.size())];
  return text;
}

RawText tagged(std::vector<std::string> words, std::vector<std::string> tags) {
  RawText text;
  text.words = std::move(words), text.tags = std::move(tags);
  return text;
}

RawText labelled(std::string text, std::string label) {
  RawText raw;
  raw.text = std::move(text), raw.label = std::move(label);
  return raw;
}

TEST_F(WriteRaw, ColumnsOfAnyWordsComeBack) {
  const std::vector<std::string> pieces{"a", "#", " ", "\r", "\xC3\xA9", "\xEF\xBB\xBF", "-DOC", "O", "\"", "B-P", "\v"};
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Draws draws(seed, 1, 0);
    uint64_t at = 0;
    std::vector<RawText> texts(1 + draws.below(at++, 4));
    for (auto& text : texts)
      for (uint64_t n = 1 + draws.below(at++, 4); n > 0; --n) {
        const std::string type = draws.below(at++, 2) ? "P" : "a b#";
        const bool inside = !text.tags.empty() && text.tags.back() != "O" && draws.below(at++, 2);
        text.words.push_back(drawn(draws, at, pieces));
        text.tags.push_back(inside ? "I-" + text.tags.back().substr(2) : draws.below(at++, 2) ? "O" : "B-" + type);
      }
    const auto back = read_back(texts, Task::kTokenClassification);
    ASSERT_EQ(back.size(), texts.size()) << seed;
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(back[i].words, texts[i].words) << seed;
      EXPECT_EQ(back[i].tags, texts[i].tags) << seed;
    }
  }
}

TEST_F(WriteRaw, LinesOfAnyTextComeBack) {
  const std::vector<std::string> pieces{
      "a", "\n", "\t", "\"", "\\", std::string(1, '\0'), "\r", "\xE2\x80\xA8", "\xF0\x9F\x98\x80", " "};
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Draws draws(seed, 2, 0);
    uint64_t at = 0;
    std::vector<RawText> texts(1 + draws.below(at++, 4));
    for (auto& text : texts) text.text = drawn(draws, at, pieces), text.label = "l" + drawn(draws, at, pieces);
    const auto back = read_back(texts, Task::kSequenceClassification);
    ASSERT_EQ(back.size(), texts.size()) << seed;
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(back[i].text, texts[i].text) << seed;
      EXPECT_EQ(back[i].label, texts[i].label) << seed;
    }
  }
}

TEST_F(WriteRaw, IsOneContentForOneList) {
  EXPECT_EQ(write_raw(std::vector{tagged({"New", "York", "is"}, {"B-P", "I-P", "O"}), tagged({""}, {"O"})},
                      Task::kTokenClassification),
            "New\tB-P\nYork\tI-P\nis\tO\n\n\tO\n\n");
  EXPECT_EQ(write_raw(std::vector{labelled("say \"hi\"\n", "x")}, Task::kSequenceClassification),
            "{\"text\":\"say \\\"hi\\\"\\n\",\"label\":\"x\"}\n");
  EXPECT_EQ(write_raw({}, Task::kTokenClassification), "");
  EXPECT_STREQ(raw_extension(Task::kTokenClassification), ".conll");
  EXPECT_STREQ(raw_extension(Task::kSequenceClassification), ".jsonl");
}

TEST_F(WriteRaw, SaysWhichTextCannotBeWritten) {
  const struct {
    RawText text;
    Task task;
    const char* says;
  } cases[] = {{tagged({}, {}), Task::kTokenClassification, "text 2: has no words"},
               {tagged({"a"}, {}), Task::kTokenClassification, "text 2: has no words, or not one tag"},
               {tagged({"a\tb"}, {"O"}), Task::kTokenClassification, "holds a tab or a line break"},
               {tagged({"a\n"}, {"O"}), Task::kTokenClassification, "holds a tab or a line break"},
               {tagged({"-DOCSTART-X"}, {"O"}), Task::kTokenClassification, "start of a document"},
               {tagged({"a", "b"}, {"O", "I-P"}), Task::kTokenClassification, "\"I-P\" is not an IOB2 tag here"},
               {tagged({"a", "b"}, {"B-Q", "I-P"}), Task::kTokenClassification, "\"I-P\" is not an IOB2 tag here"},
               {tagged({"a"}, {"S-P"}), Task::kTokenClassification, "\"S-P\" is not an IOB2 tag"},
               {tagged({"a"}, {"B-"}), Task::kTokenClassification, "\"B-\" is not an IOB2 tag"},
               {tagged({"a"}, {""}), Task::kTokenClassification, "is not an IOB2 tag"},
               {tagged({"a"}, {"B-P\r"}), Task::kTokenClassification, "is not an IOB2 tag"},
               {tagged({"\xFF"}, {"O"}), Task::kTokenClassification, "invalid UTF-8"},
               {tagged({std::string(1, '\0')}, {"O"}), Task::kTokenClassification, "invalid UTF-8 or NUL"},
               {tagged({std::string(16 << 20, 'a')}, {"O"}), Task::kTokenClassification, "longer than 16 MiB"},
               {labelled("a", ""), Task::kSequenceClassification, "text 2: the label is empty"},
               {labelled("\xC3", "l"), Task::kSequenceClassification, "text 2: invalid UTF-8"},
               {labelled("a", "\xC3"), Task::kSequenceClassification, "text 2: invalid UTF-8"},
               {labelled(std::string(3 << 20, '\1'), "l"), Task::kSequenceClassification, "longer than 16 MiB"}};
  for (const auto& c : cases) EXPECT_THAT(refusal(c.text, c.task), HasSubstr(c.says));
}

}  // namespace
}  // namespace fmtrain
