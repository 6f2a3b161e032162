#include "runtime/data/write_raw.h"

#include "runtime/data/lines.h"
#include "runtime/json.h"
#include "runtime/text/utf8.h"

namespace fmtrain {
namespace {

constexpr const char* kByteOrderMark = "\xEF\xBB\xBF";

[[noreturn]] void fail(size_t text, const std::string& what) {
  throw DataError("text " + std::to_string(text + 1) + ": " + what);
}

bool is_iob2(const std::vector<std::string>& tags, size_t i) {
  const auto& tag = tags[i];
  if (tag == "O") return true;
  if (tag.size() < 3 || tag[1] != '-' || (tag[0] != 'B' && tag[0] != 'I')) return false;
  return tag[0] == 'B' || (i > 0 && tags[i - 1] != "O" && tags[i - 1].substr(2) == tag.substr(2));
}

void check_line(size_t text, std::string_view line) {
  if (line.size() > kMaxLine) fail(text, "a line of it would be longer than 16 MiB");
  size_t bad = 0;
  if (!valid_utf8(line, &bad)) fail(text, "invalid UTF-8 or NUL");
}

void add_word(std::string& content, size_t text, const std::string& word, const std::string& tag) {
  if (word.find_first_of("\t\n") != std::string::npos) fail(text, "a word holds a tab or a line break");
  if (word.starts_with("-DOCSTART-")) fail(text, "a word begins with -DOCSTART-, which would be read as the start of a document; take it out");
  const size_t start = content.size();
  content += word + "\t" + tag;
  check_line(text, std::string_view(content).substr(start));
  content += '\n';
}

/// A tag at the end of a line must not end with what belongs to the end of a line.
void add_tagged(std::string& content, size_t index, const RawText& text) {
  if (text.words.empty() || text.tags.size() != text.words.size()) fail(index, "has no words, or not one tag for each");
  for (size_t i = 0; i < text.words.size(); ++i) {
    const auto& tag = text.tags[i];
    if (!is_iob2(text.tags, i) || tag.find_first_of("\t\n") != std::string::npos || tag.back() == '\r')
      fail(index, quoted(tag) + " is not an IOB2 tag here");
    add_word(content, index, text.words[i], tag);
  }
  content += '\n';
}

void add_labelled(std::string& content, size_t index, const RawText& text) {
  if (text.label.empty()) fail(index, "the label is empty");
  std::string line;
  try {
    line = Json{{"text", text.text}, {"label", text.label}}.dump();
  } catch (const Json::exception&) {
    fail(index, "invalid UTF-8");
  }
  check_line(index, line);
  content += line + "\n";
}

}  // namespace

const char* raw_extension(Task task) { return task == Task::kTokenClassification ? ".conll" : ".jsonl"; }

std::string write_raw(std::span<const RawText> texts, Task task) {
  std::string content;
  for (size_t i = 0; i < texts.size(); ++i)
    task == Task::kTokenClassification ? add_tagged(content, i, texts[i]) : add_labelled(content, i, texts[i]);
  // A reader takes one byte order mark away: a first word may begin with one.
  return (content.starts_with(kByteOrderMark) ? kByteOrderMark : "") + content;
}

}  // namespace fmtrain
