// Raw files that are right: what the readers make of them.
#include <gmock/gmock.h>

#include <set>

#include "runtime/data/raw.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

/// "1[a/O b/B-X] 4[c/O]": the line, the words with their tags; the lines of the words are checked on the way.
std::string shown(const std::vector<RawText>& texts) {
  std::string all;
  for (const auto& text : texts) {
    EXPECT_EQ(text.words.size(), text.tags.size());
    all += (all.empty() ? "" : " ") + std::to_string(text.line) + "[";
    for (size_t w = 0; w < text.words.size(); ++w) all += (w ? " " : "") + text.words[w] + "/" + text.tags[w];
    all += text.words.empty() ? text.text + "|" + text.label + "]" : "]";
  }
  return all;
}

struct Case {
  std::string content, shown, scheme = "IOB2";
};

TEST(ReadConll, RightFiles) {
  const std::vector<Case> cases{
      {"a\tO\nb\tB-X\nc\tI-X\n", "1[a/O b/B-X c/I-X]"},
      {"a\tO\n\nb\tO\n", "1[a/O] 3[b/O]"},
      {"\n\n\na\tO\n\n\n\nb\tO\n\n\n", "4[a/O] 8[b/O]"},
      {"a\tO\nb\tB-X", "1[a/O b/B-X]"},                           // no line end at the end
      {"a\tO\r\nb\tB-X\r\n\r\nc\tO\r\n", "1[a/O b/B-X] 4[c/O]"},  // CRLF
      {"a\tO\r\nb\tB-X\r", "1[a/O b/B-X]"},                       // CR at the end of the file
      {"\xEF\xBB\xBF"
       "a\tO\n",
       "1[a/O]"},                               // byte order mark
      {"a O\nb B-X\n", "1[a/O b/B-X]"},         // blanks
      {"a   O \nb \t B-X\n", "1[a/O b/B-X]"},   // many blanks and mixed ones
      {"a\tO\n \t \nb\tO\n", "1[a/O] 3[b/O]"},  // a row of blanks divides
      {"-DOCSTART-\tO\n\na\tO\n", "3[a/O]"},
      {"-DOCSTART- -X- -X- O\n\na NN x O\n-DOCSTART- -X- -X- O\nb NN x B-X\n", "3[a/O] 5[b/B-X]"},
      {"# a comment of many words\na\tO\n# x\nb\tO\n", "2[a/O b/O]"},  // comments do not divide
      {"# comment\na\tO\n", "2[a/O]"},                                 // two columns, but not by tabs
      {"#tag\tO\n#b\tB-X\n", "1[#tag/O #b/B-X]"},                      // hashtags are words
      {"# 1 2 3\n#tag\tO\nb\tO\n", "2[#tag/O b/O]"},
      {"#\tO\na\tO\n", "1[#/O a/O]"},
      {"\tO\na\tO\n", "1[/O a/O]"},              // an empty word keeps its place
      {"two words\tB-X\n", "1[two words/B-X]"},  // blanks inside of a word when tabs divide
      {"a\tNN\tx\tB-X\n", "1[a/B-X]"},           // first and last column
      {"\xC3\xA9\xF0\x9F\x91\x8D\tB-X\n", "1[\xC3\xA9\xF0\x9F\x91\x8D/B-X]"},
      {"a\tB-X-Y\nb\tI-X-Y\n", "1[a/B-X-Y b/I-X-Y]"},  // a type may hold a dash
      {"a\tO\nb\tO\n", "1[a/O b/O]"},
      {"a\tB-X\nb\tB-X\nc\tB-Y\n", "1[a/B-X b/B-X c/B-Y]"},
      {"a\tI-X\nb\tI-X\nc\tO\nd\tI-Y\n", "1[a/B-X b/I-X c/O d/B-Y]", "IOB1"},
      {"a\tI-X\nb\tB-X\nc\tI-X\nd\tI-Y\n", "1[a/B-X b/B-X c/I-X d/B-Y]", "IOB1"},
      {"a\tI-X\n\nb\tI-X\n", "1[a/B-X] 3[b/B-X]", "IOB1"},  // spans end with the text
      {"a\tI-X\nb\tO\nc\tB-X\n", "1[a/B-X b/O c/B-X]", "mixed IOB1 and IOB2"},
      {"a\tB-X\nb\tI-X\nc\tE-X\nd\tS-Y\ne\tO\n", "1[a/B-X b/I-X c/I-X d/B-Y e/O]", "BIOES"},
      {"a\tS-X\nb\tS-X\nc\tB-X\nd\tE-X\ne\tB-X\nf\tE-X\n", "1[a/B-X b/B-X c/B-X d/I-X e/B-X f/I-X]", "BIOES"},
      {"a\tB-X\nb\tL-X\nc\tU-X\nd\tU-Y\n", "1[a/B-X b/I-X c/B-X d/B-Y]", "BIOES"},
      {"a\tE-X\nb\tI-Y\n", "1[a/B-X b/B-Y]", "BIOES"},  // broken spans begin where they are seen
      {"", ""},
      {"# only comments here\n\n# and here\n", ""}};
  for (const auto& c : cases) {
    std::string scheme;
    EXPECT_EQ(shown(read_conll("f", c.content, Columns{}, &scheme)), c.shown) << testing::PrintToString(c.content);
    EXPECT_EQ(scheme, c.scheme) << testing::PrintToString(c.content);
  }
}

TEST(ReadConll, ColumnsByNumber) {
  const std::string content = "1\ta\tNN\tB-X\tx\n2\tb\tVB\tO\tx\n";
  Columns columns;
  columns.word = 1;
  columns.tag = 3;
  EXPECT_EQ(shown(read_conll("f", content, columns, nullptr)), "1[a/B-X b/O]");
  columns.word = -4;
  columns.tag = -2;
  EXPECT_EQ(shown(read_conll("f", content, columns, nullptr)), "1[a/B-X b/O]");
}

TEST(ReadConll, LinesOfWordsCountComments) {
  const auto texts = read_conll("f", "a\tO\n# not a word\nb\tO\n\nc\tO\n", Columns{}, nullptr);
  ASSERT_EQ(texts.size(), 2u);
  EXPECT_THAT(texts[0].lines, testing::ElementsAre(1, 3));
  EXPECT_THAT(texts[1].lines, testing::ElementsAre(5));
}

TEST(ReadTable, RightFiles) {
  const std::vector<Case> cases{
      {"text,label\nhello,A\n", "2[hello|A]"},
      {"label,x,text\nA,1,hello\n", "2[hello|A]"},
      {"text,label\r\nhello,A\r\nworld,B\r\n", "2[hello|A] 3[world|B]"},
      {"\xEF\xBB\xBFtext,label\nhello,A\n", "2[hello|A]"},
      {"text,label\nhello,A", "2[hello|A]"},
      {"text,label\nhello,A\r", "2[hello|A]"},
      {"text,label\n\"hello\",\"A\"\r", "2[hello|A]"},
      {"text,label\n\"a, b\",A\n", "2[a, b|A]"},
      {"text,label\n\"a \"\"b\"\" c\",A\n", "2[a \"b\" c|A]"},
      {"text,label\n\"a\nb\n\nc\",A\nd,B\n", "2[a\nb\n\nc|A] 6[d|B]"},  // line numbers over line breaks in quotes
      {"text,label\r\n\"a\r\nb\",A\r\nd,B\r\n", "2[a\r\nb|A] 4[d|B]"},
      {"\"text\",\"label\"\n\"hello\",\"A\"\n", "2[hello|A]"},
      {"text,label\n\n\nhello,A\n\n", "4[hello|A]"},              // blank lines
      {"text,label\n,A\n\"\",B\n", "2[|A] 3[|B]"},                // a text may be empty
      {"text,label\na \"quoted\" b,A\n", "2[a \"quoted\" b|A]"},  // a quote inside of a field is a character
      {"text,label\n a , A \n", "2[ a | A ]"},                    // blanks belong to the field
      {"text,label\na\rb,A\n", "2[a\rb|A]"},                      // CR alone is no line end
      {"text,label,note\na,A,\n", "2[a|A]"},
      {"text,label\n\"\"\"\",A\n", "2[\"|A]"},
      {"text,label\n", ""},
      {"", ""}};
  for (const auto& c : cases)
    EXPECT_EQ(shown(read_table("f", c.content, Columns{}, ',')), c.shown) << testing::PrintToString(c.content);
  Columns columns;
  columns.text = "sentence";
  columns.label = "class";
  EXPECT_EQ(shown(read_table("f", "class\tsentence\nA\ta, \"b\"\nB\t\"c\td\"\n", columns, '\t')), "2[a, \"b\"|A] 3[c\td|B]");
}

TEST(ReadJsonl, RightFiles) {
  const std::vector<Case> cases{
      {"{\"text\": \"a\", \"label\": \"A\"}\n{\"label\": \"B\", \"text\": \"b\", \"more\": [1, {}]}\n", "1[a|A] 2[b|B]"},
      {"\n  \n{\"text\": \"a\", \"label\": \"A\"}", "3[a|A]"},
      {"\xEF\xBB\xBF{\"text\": \"a\", \"label\": \"A\"}\r\n{\"text\": \"b\", \"label\": \"B\"}\r\n", "1[a|A] 2[b|B]"},
      {"{\"text\": \"\\u00e9\\ud83d\\ude00\\n\", \"label\": \"A\"}\n", "1[\xC3\xA9\xF0\x9F\x98\x80\n|A]"},
      {"{\"text\": 12, \"label\": 3}\n{\"text\": \"\", \"label\": true}\n{\"text\": \"c\", \"label\": -1}\n",
       "1[12|3] 2[|true] 3[c|-1]"},
      {"", ""}};
  for (const auto& c : cases)
    EXPECT_EQ(shown(read_jsonl("f", c.content, Columns{})), c.shown) << testing::PrintToString(c.content);
}

TEST(ReadClinc150, TakesOneListAndNoOther) {
  const std::string content =
      R"({"oos_val": [["x", "oos"]], "val": [["v", "B"]], "train": [["t", "A"], ["u", "B"]], "test": []})";
  EXPECT_EQ(shown(read_clinc150("f", content, "train")), "1[t|A] 2[u|B]");
  EXPECT_EQ(shown(read_clinc150("f", content, "val")), "1[v|B]");
  EXPECT_EQ(shown(read_clinc150("f", content, "test")), "");
}

class ReadRaw : public TemporaryFolder {};

TEST_F(ReadRaw, FormatGoesByNameOrByOption) {
  write("a.conll", "a\tB-X\n");
  write("a.tsv", "text\tlabel\na\tA\n");
  write("a.csv", "text,label\na,A\n");
  write("a.jsonl", "{\"text\":\"a\",\"label\":\"A\"}\n");
  write("a.json", "{\"train\":[[\"a\",\"A\"]]}");
  write("b.tsv", "a\tB-X\n");
  write("c", "text,label\na,A\n");
  const auto read = [&](const char* name, Task task, Format format) {
    return shown(read_raw(path(name), task, format, Columns{}, "train", nullptr));
  };
  EXPECT_EQ(read("a.conll", Task::kTokenClassification, Format::kAuto), "1[a/B-X]");
  EXPECT_EQ(read("b.tsv", Task::kTokenClassification, Format::kAuto), "1[a/B-X]");
  for (const char* name : {"a.tsv", "a.csv"})
    EXPECT_EQ(read(name, Task::kSequenceClassification, Format::kAuto), "2[a|A]") << name;
  for (const char* name : {"a.jsonl", "a.json"})
    EXPECT_EQ(read(name, Task::kSequenceClassification, Format::kAuto), "1[a|A]") << name;
  EXPECT_EQ(read("c", Task::kSequenceClassification, Format::kCsv), "2[a|A]");
}

struct Shipped {
  const char* file;
  Task task;
  const char* split;
  size_t texts, words, entities_or_labels;
};

/// The counts that the sets' own pages give.
TEST_F(ReadRaw, TheSetsThatComeWithTheProgram) {
  const auto tagging = Task::kTokenClassification, classification = Task::kSequenceClassification;
  for (const auto& set : std::vector<Shipped>{{"wnut17/train.conll", tagging, "", 3394, 62730, 1975},
                                              {"wnut17/dev.conll", tagging, "", 1009, 15733, 836},
                                              {"wnut17/test.conll", tagging, "", 1287, 23394, 1079},
                                              {"ncbi-disease/train.tsv", tagging, "", 5424, 135701, 5134},
                                              {"ncbi-disease/devel.tsv", tagging, "", 923, 23969, 787},
                                              {"ncbi-disease/test.tsv", tagging, "", 940, 24497, 960},
                                              {"clinc150/data_full.json", classification, "train", 15000, 0, 150},
                                              {"clinc150/data_full.json", classification, "val", 3000, 0, 150},
                                              {"clinc150/data_full.json", classification, "test", 4500, 0, 150},
                                              {"banking77/train.csv", classification, "", 10003, 0, 77},
                                              {"banking77/test.csv", classification, "", 3080, 0, 77}}) {
    Columns columns;
    if (std::string(set.file).starts_with("banking77")) columns.label = "category";
    const auto texts =
        read_raw(std::string(FMTRAIN_SOURCE_DIR) + "/data/" + set.file, set.task, Format::kAuto, columns, set.split, nullptr);
    size_t words = 0, entities = 0;
    std::set<std::string> labels;
    for (const auto& text : texts) {
      words += text.words.size();
      for (const auto& tag : text.tags) entities += tag[0] == 'B';
      if (!text.label.empty()) labels.insert(text.label);
    }
    EXPECT_EQ(texts.size(), set.texts) << set.file;
    EXPECT_EQ(words, set.words) << set.file;
    EXPECT_EQ(set.task == tagging ? entities : labels.size(), set.entities_or_labels) << set.file;
  }
}

}  // namespace
}  // namespace fmtrain
