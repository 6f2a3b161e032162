#include <algorithm>

#include "runtime/data/lines.h"
#include "runtime/data/raw.h"

namespace fmtrain {
namespace {

std::vector<std::string> split_columns(std::string_view line, bool tabs) {
  std::vector<std::string> columns;
  size_t at = 0;
  while (at <= line.size()) {
    size_t end = tabs ? line.find('\t', at) : line.find_first_of(" \t", at);
    if (end == std::string_view::npos) end = line.size();
    if (tabs || end > at) columns.emplace_back(line.substr(at, end - at));
    at = end + 1;
  }
  return columns;
}

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t") == std::string_view::npos; }

/// Column number `index` of `count`; negative counts from the end.
size_t column_at(const std::string& file, int64_t line, int64_t index, size_t count) {
  const int64_t at = index < 0 ? static_cast<int64_t>(count) + index : index;
  if (at < 0 || at >= static_cast<int64_t>(count))
    fail_at(file, line, "column " + std::to_string(index) + " does not exist, the row has " + std::to_string(count) + " columns");
  return static_cast<size_t>(at);
}

void check_tag(const std::string& file, int64_t line, const std::string& tag) {
  const bool valid = tag == "O" || (tag.size() > 2 && tag[1] == '-' && std::string("BIESLU").find(tag[0]) != std::string::npos);
  if (!valid) fail_at(file, line, quoted(tag) + " is not a tag (O, or B-, I-, E-, S- and a type)");
}

std::string type_of(const std::string& tag) { return tag == "O" ? "" : tag.substr(2); }

/// Does word i of the tags start an entity, given any of the three schemes?
bool starts_entity(const std::vector<std::string>& tags, size_t i) {
  if (tags[i] == "O") return false;
  if (tags[i][0] == 'B' || tags[i][0] == 'S' || tags[i][0] == 'U' || i == 0) return true;
  const auto& before = tags[i - 1];
  const bool ended = before == "O" || before[0] == 'E' || before[0] == 'S' || before[0] == 'L' || before[0] == 'U';
  return ended || type_of(before) != type_of(tags[i]);
}

/// What the tags of a file look like.
struct SchemeEvidence {
  bool has_ends = false, inside_starts = false, begin_after_other = false;
  void look(const std::vector<std::string>& tags) {
    for (size_t i = 0; i < tags.size(); ++i) {
      const char c = tags[i][0];
      has_ends = has_ends || c == 'E' || c == 'S' || c == 'L' || c == 'U';
      if (c == 'I' && starts_entity(tags, i)) inside_starts = true;
      if (c == 'B' && (i == 0 || type_of(tags[i - 1]) != type_of(tags[i]))) begin_after_other = true;
    }
  }
  std::string name() const {
    if (has_ends) return "BIOES";
    if (!inside_starts) return "IOB2";
    return begin_after_other ? "mixed IOB1 and IOB2" : "IOB1";
  }
};

void to_iob2(std::vector<std::string>& tags) {
  std::vector<std::string> converted(tags.size(), "O");
  for (size_t i = 0; i < tags.size(); ++i)
    if (tags[i] != "O") converted[i] = (starts_entity(tags, i) ? "B-" : "I-") + type_of(tags[i]);
  tags = std::move(converted);
}

bool is_boundary(std::string_view line) { return is_blank(line) || line.starts_with("-DOCSTART-"); }

/// Columns of a file: how many, and what divides them. As the first row has it that cannot be a comment; where all rows start with
/// '#', as the first one of two columns.
struct Shape {
  size_t width = 0;
  bool tabs = false;
  explicit Shape(std::string_view content) {
    for (const bool hashes : {false, true})
      for (Lines lines(content); width == 0 && lines.next();) {
        const auto line = lines.text();
        if (is_boundary(line) || (line[0] == '#' && !hashes)) continue;
        tabs = line.find('\t') != std::string_view::npos;
        const size_t columns = split_columns(line, tabs).size();
        if (!hashes || columns == 2) width = columns;
      }
  }
};

}  // namespace

std::vector<RawText> read_conll(const std::string& file, const std::string& content, const Columns& columns, std::string* scheme) {
  std::vector<RawText> texts;
  bool open = false;
  const Shape shape(content);
  for (Lines lines(content); lines.next();) {
    const auto line = lines.text();
    if (line.size() > kMaxLine) fail_at(file, lines.number(), "longer than 16 MiB");
    if (is_boundary(line)) {
      open = false;
      continue;
    }
    const auto row = split_columns(line, shape.tabs);
    if (row.size() != shape.width) {
      if (line[0] == '#') continue;
      fail_at(file, lines.number(), "expected " + std::to_string(shape.width) + " columns, found " + std::to_string(row.size()));
    }
    if (!open) texts.emplace_back().line = lines.number();
    open = true;
    const auto& tag = row[column_at(file, lines.number(), columns.tag, shape.width)];
    check_tag(file, lines.number(), tag);
    texts.back().words.push_back(row[column_at(file, lines.number(), columns.word, shape.width)]);
    texts.back().tags.push_back(tag);
    texts.back().lines.push_back(lines.number());
  }
  SchemeEvidence evidence;
  for (auto& text : texts) {
    evidence.look(text.tags);
    to_iob2(text.tags);
  }
  if (scheme) *scheme = evidence.name();
  return texts;
}

}  // namespace fmtrain
