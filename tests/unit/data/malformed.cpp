#include "tests/unit/data/malformed.h"

namespace fmtrain {

PrepareOptions options_for(const Malformed& file) {
  PrepareOptions options;
  options.task = file.name.ends_with(".conll") ? Task::kTokenClassification : Task::kSequenceClassification;
  options.split = "train";
  file.set(options);
  return options;
}

namespace {

const std::string kNoTag = " is not a tag (O, or B-, I-, E-, S- and a type)";

std::vector<Malformed> conll_files() {
  return {
      {"a.conll", "", "@: holds no text"},
      {"a.conll", "\n\n \t\n-DOCSTART-\n", "@: holds no text"},
      {"a.conll", "a\tO\nb\n", "@:2: expected 2 columns, found 1"},
      {"a.conll", "a\tO\nb O\n", "@:2: expected 2 columns, found 1"},
      {"a.conll", "a\tO\n\nb\tO\tO\n", "@:3: expected 2 columns, found 3"},
      {"a.conll", "a O\nb\tx\tO\n", "@:2: expected 2 columns, found 3"},
      {"a.conll", "a\tX\n", "@:1: \"X\"" + kNoTag},
      {"a.conll", "a\tO\nb\tB-\n", "@:2: \"B-\"" + kNoTag},
      {"a.conll", "a\tO\nb\tb-PER\n", "@:2: \"b-PER\"" + kNoTag},
      {"a.conll", "a\tO\nb\tB_PER\n", "@:2: \"B_PER\"" + kNoTag},
      {"a.conll", "a\tO\nb\t\n", "@:2: \"\"" + kNoTag},
      {"a.conll", "a\tO\nb\tO \n", "@:2: \"O \"" + kNoTag},
      {"a.conll", "a\tO\nb\t\x1b[2J\xC3\xA9\n", "@:2: \"\\x1b[2J\\xc3\\xa9\"" + kNoTag},
      {"a.conll", "word\nlist\n", "@:1: \"word\"" + kNoTag},
      {"a.conll", "a\tO\n#b\tnote\n", "@:2: \"note\"" + kNoTag},
      {"a.conll", "# only\tcomments\there\n", "@: holds no text"},
      {"a.conll", "a\tO\n", "@:1: column 2 does not exist, the row has 2 columns",
       [](PrepareOptions& o) { o.columns.tag = 2; }},
      {"a.conll", "a\tO\n", "@:1: column -3 does not exist, the row has 2 columns",
       [](PrepareOptions& o) { o.columns.word = -3; }},
      {"a.conll", "a\tO\n\xff\tO\n", "@:2: byte 4 of the file: invalid UTF-8 or NUL"},
      {"a.conll", std::string("a\tO\n\nb\0\tO\n", 10), "@:3: byte 6 of the file: invalid UTF-8 or NUL"},
      {"a.conll",
       "\xff\xfe"
       "a",
       "@:1: byte 0 of the file: invalid UTF-8 or NUL"},
      {"a.conll",
       "\xEF\xBB\xBF"
       "a\tO\r\n\r\nb\tP\r\n",
       "@:3: \"P\"" + kNoTag},
      {"a.conll", "a\tO\n" + std::string((16u << 20) + 1, 'x') + "\tO\n", "@:2: longer than 16 MiB"},
      {"a.conll", "a\tO\n# why\nb\tB-Y\n", "@:3: label \"B-Y\" is not one of the 3 labels of the training set",
       [](PrepareOptions& o) {
         o.labels = {"O", "B-X", "I-X"};
       }},
      {"a.conll", "a\tO\n\nabc\tO\nde\tO\n", "@:3: the text has 7 tokens, more than data.max_length 6",
       [](PrepareOptions& o) { o.overlong = Overlong::kError, o.max_length = 6; }},
      {"a.conll", "a,O\n", "@: token classification needs CoNLL columns", [](PrepareOptions& o) { o.format = Format::kCsv; }},
      {"a.csv", "a\tO\n", "@: CoNLL columns are for token classification",
       [](PrepareOptions& o) { o.format = Format::kConll; }},
  };
}

std::vector<Malformed> tables() {
  std::string wide = "text,label\n";
  for (int i = 0; i < 4096; ++i) wide += ",";
  const auto two_labels = [](PrepareOptions& o) { o.labels = {"A", "B"}; };
  return {
      {"a.csv", "", "@: holds no text"},
      {"a.csv", "text,label\n", "@: holds no text"},
      {"a.csv", "text,lable\na,A\n", "@:1: no column \"label\" (the header has \"text\", \"lable\"); set data.columns.label"},
      {"a.csv", "Text,label\na,A\n", "@:1: no column \"text\" (the header has \"Text\", \"label\"); set data.columns.text"},
      {"a.csv", "text,label,label\na,A,B\n", "@:1: two columns are named \"label\""},
      {"a.csv", "text,label\na\n", "@:2: expected 2 columns, found 1"},
      {"a.csv", "text,label\n\"a\nb\",A\nc,d,B\n", "@:4: expected 2 columns, found 3"},
      {"a.csv", "text,label\na,A\n\"b\nc,B\nd,C\n", "@:3: the quote that opens here is never closed"},
      {"a.csv", "text,label\n\"a\" b,A\n", "@:2: text after a closing quote"},
      {"a.csv", "text,label\n\"a\nb\"x,A\n", "@:3: text after a closing quote"},
      {"a.csv", "text,label\n\"a\"\rb,A\n", "@:2: text after a closing quote"},
      {"a.csv", "text,label\na,\n", "@:2: the label is empty"},
      {"a.csv", "text,label\na,A\nb,\"\"\n", "@:3: the label is empty"},
      {"a.csv", "text,label\na,A\nb\xC3(,B\n", "@:3: byte 16 of the file: invalid UTF-8 or NUL"},
      {"a.csv", wide, "@:2: more than 4096 columns"},
      {"a.csv", "text,label\na,A\n\nb,C\n", "@:4: label \"C\" is not one of the 2 labels of the training set", two_labels},
      {"a.csv", "text,label\na,A\nabc,A\n", "@:3: the text has 5 tokens, more than data.max_length 4",
       [](PrepareOptions& o) { o.overlong = Overlong::kError, o.max_length = 4; }},
      {"a.tsv", "text\tlabel\na\tA\nb,B\n", "@:3: expected 2 columns, found 1"},
      {"a.tsv", "text,label\na,A\n", "@:1: no column \"text\" (the header has \"text,label\"); set data.columns.text"},
      {"a.txt", "text,label\na,A\n", "@: cannot tell the format from the name; set data.format"},
      {"a.h5", "text,label\na,A\n", "@: is a prepared file, not raw text"},
  };
}

std::vector<Malformed> json_files() {
  const std::string good = "{\"text\":\"a\",\"label\":\"A\"}\n";
  return {
      {"a.jsonl", "", "@: holds no text"},
      {"a.jsonl", good + "{\"text\":\"a\"", "@:2: byte 12: not valid JSON"},
      {"a.jsonl", good + "[1, 2]\n", "@:2: expected one JSON object a line"},
      {"a.jsonl", good + "\"text\"\n", "@:2: expected one JSON object a line"},
      {"a.jsonl", good + "{\"text\":\"a\"}\n", "@:2: no member \"label\""},
      {"a.jsonl", good + "\n{\"label\":\"a\"}\n", "@:3: no member \"text\""},
      {"a.jsonl", "{\"text\":\"a\",\"label\":null}\n", "@:1: member \"label\" must be a string"},
      {"a.jsonl", "{\"text\":\"a\",\"label\":1.5}\n", "@:1: member \"label\" must be a string"},
      {"a.jsonl", "{\"text\":{},\"label\":\"A\"}\n", "@:1: member \"text\" must be a string"},
      {"a.jsonl", "{\"text\":\"a\",\"label\":\"\"}\n", "@:1: the label is empty"},
      {"a.jsonl", "{\"text\":\"a\",\"text\":\"b\",\"label\":\"A\"}\n", "@:1: duplicate key \"text\""},
      {"a.jsonl", good + "{\"text\":\"a\",\"label\":\"A\"} x\n", "@:2: byte 26: not valid JSON"},
      {"a.jsonl", std::string(100, '[').append("\n"), "@:1: nested deeper than 16 levels"},
      {"a.jsonl", "{\"text\":\"a\",\"label\":\"\\ud800\"}\n", "@:1: byte 28: not valid JSON"},
      {"a.jsonl", "{\"text\":\"a\\u0000b\",\"label\":\"A\"}\n", "@:1: byte 1: invalid UTF-8 or NUL"},
      {"a.json", "{\"train\":[[\"a\",\"A\"]", "@: byte 20: not valid JSON"},
      {"a.json", "[]", "@: no list \"train\" (is this CLINC150's data_full.json?)"},
      {"a.json", "{\"test\":[]}", "@: no list \"train\" (is this CLINC150's data_full.json?)"},
      {"a.json", "{\"train\":{}}", "@: no list \"train\" (is this CLINC150's data_full.json?)"},
      {"a.json", "{\"train\":[]}", "@: holds no text"},
      {"a.json", "{\"train\":[[\"a\",\"A\"],[\"b\"]]}", "@:2: entry 2 of \"train\" is not [text, intent]"},
      {"a.json", "{\"train\":[[\"a\",1]]}", "@:1: entry 1 of \"train\" is not [text, intent]"},
      {"a.json", "{\"train\":[[\"a\",\"\"]]}", "@:1: the label is empty"},
      {"a.json", "{\"train\":[[[[[\"a\"]]]]]}", "@: nested deeper than 4 levels"},
  };
}

}  // namespace

std::vector<Malformed> malformed_files() {
  auto all = conll_files();
  for (const auto& more : {tables(), json_files()}) all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace fmtrain
