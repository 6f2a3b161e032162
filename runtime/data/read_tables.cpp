#include <algorithm>
#include <filesystem>

#include "runtime/data/lines.h"
#include "runtime/data/raw.h"
#include "runtime/file_ops.h"
#include "runtime/hash.h"
#include "runtime/json.h"
#include "runtime/text/utf8.h"

namespace fmtrain {
namespace {

constexpr size_t kMaxFile = size_t{8} << 30, kMaxColumns = 4096;

/// Cuts RFC 4180 records; keeps count of lines over quoted line breaks.
class Table {
 public:
  Table(const std::string& file, std::string_view content, char separator) : file_(file), rest_(content), separator_(separator) {
    if (rest_.substr(0, 3) == "\xEF\xBB\xBF") rest_.remove_prefix(3);
  }
  int64_t line() const { return record_line_; }

  bool next(std::vector<std::string>& fields) {
    fields.clear();
    if (at_ >= rest_.size()) return false;
    record_line_ = line_;
    for (bool more = true; more;) {
      fields.emplace_back();
      more = field(fields.back());
      if (fields.size() > kMaxColumns) fail_at(file_, record_line_, "more than 4096 columns");
    }
    return true;
  }

 private:
  /// Reads one field; true when another follows in the record.
  bool field(std::string& out) {
    if (at_ < rest_.size() && rest_[at_] == '"') quoted_field(out);
    while (at_ < rest_.size() && rest_[at_] != separator_ && rest_[at_] != '\n') {
      if (!at_line_end()) out += rest_[at_];
      if (out.size() > kMaxLine) fail_at(file_, record_line_, "a field longer than 16 MiB");
      ++at_;
    }
    const bool more = at_ < rest_.size() && rest_[at_] == separator_;
    if (!more) ++line_;
    ++at_;
    return more;
  }

  /// At the end of the file, or at LF or CRLF (a last CR counts as one).
  bool at_line_end() const {
    const auto rest = rest_.substr(at_);
    return rest.empty() || rest == "\r" || rest[0] == '\n' || rest.starts_with("\r\n");
  }

  void quoted_field(std::string& out) {
    const int64_t opened = line_;
    for (++at_; at_ < rest_.size(); ++at_) {
      if (rest_[at_] == '"' && (at_ + 1 >= rest_.size() || rest_[at_ + 1] != '"')) {
        ++at_;
        const bool ends = at_line_end() || rest_[at_] == separator_;
        if (!ends) fail_at(file_, line_, "text after a closing quote");
        return;
      }
      if (rest_[at_] == '"') ++at_;
      if (rest_[at_] == '\n') ++line_;
      out += rest_[at_];
      if (out.size() > kMaxLine) fail_at(file_, opened, "a quoted field longer than 16 MiB");
    }
    fail_at(file_, opened, "the quote that opens here is never closed");
  }

  const std::string& file_;
  std::string_view rest_;
  char separator_;
  size_t at_ = 0;
  int64_t line_ = 1, record_line_ = 1;
};

size_t find_column(const std::string& file, const std::vector<std::string>& header, const std::string& name, const char* key) {
  const auto found = std::find(header.begin(), header.end(), name);
  if (std::count(header.begin(), header.end(), name) > 1) fail_at(file, 1, "two columns are named " + quoted(name));
  if (found != header.end()) return static_cast<size_t>(found - header.begin());
  std::string names;
  for (size_t i = 0; i < header.size() && i < 8; ++i) names += (i ? ", " : "") + quoted(header[i]);
  fail_at(file, 1, "no column " + quoted(name) + " (the header has " + names + "); set data.columns." + key);
}

RawText labelled(const std::string& file, int64_t line, std::string text, std::string label) {
  if (label.empty()) fail_at(file, line, "the label is empty");
  RawText raw;
  raw.line = line;
  raw.text = std::move(text);
  raw.label = std::move(label);
  return raw;
}

std::string member(const std::string& file, int64_t line, const Json& row, const std::string& name) {
  if (!row.contains(name)) fail_at(file, line, "no member " + quoted(name));
  const auto& value = row.at(name);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer() || value.is_boolean()) return value.dump();
  fail_at(file, line, "member " + quoted(name) + " must be a string");
}

Format format_of(const std::string& file, Task task, Format format) {
  if (format != Format::kAuto) return format;
  const auto ends = [&](const char* end) { return file.ends_with(end); };
  if (ends(".h5") || ends(".hdf5")) return Format::kHdf5;
  if (ends(".jsonl")) return Format::kJsonl;
  if (task == Task::kTokenClassification) return Format::kConll;
  if (ends(".tsv")) return Format::kTsv;
  if (ends(".csv")) return Format::kCsv;
  if (ends(".json")) return Format::kClinc150;
  throw DataError(file + ": cannot tell the format from the name; set data.format");
}

}  // namespace

void check_utf8(const std::string& file, const std::string& content) {
  size_t bad = 0;
  if (valid_utf8(content, &bad)) return;
  const auto line = 1 + std::count(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(bad), '\n');
  fail_at(file, line, "byte " + std::to_string(bad) + " of the file: invalid UTF-8 or NUL");
}

std::vector<RawText> read_table(const std::string& file, const std::string& content, const Columns& columns, char separator) {
  Table table(file, content, separator);
  std::vector<std::string> header, row;
  if (!table.next(header)) return {};
  const size_t text = find_column(file, header, columns.text, "text"), label = find_column(file, header, columns.label, "label");
  std::vector<RawText> texts;
  while (table.next(row)) {
    if (row.size() == 1 && row[0].empty()) continue;
    if (row.size() != header.size())
      fail_at(file, table.line(), "expected " + std::to_string(header.size()) + " columns, found " + std::to_string(row.size()));
    texts.push_back(labelled(file, table.line(), row[text], row[label]));
  }
  return texts;
}

std::vector<RawText> read_jsonl(const std::string& file, const std::string& content, const Columns& columns) {
  std::vector<RawText> texts;
  for (Lines lines(content); lines.next();) {
    if (lines.text().find_first_not_of(" \t") == std::string_view::npos) continue;
    Json row;
    try {
      row = parse_json(lines.text(), {kMaxLine, 16});
    } catch (const std::exception& error) {
      fail_at(file, lines.number(), error.what());
    }
    if (!row.is_object()) fail_at(file, lines.number(), "expected one JSON object a line");
    texts.push_back(labelled(file, lines.number(), member(file, lines.number(), row, columns.text), member(file, lines.number(), row, columns.label)));
  }
  return texts;
}

std::vector<RawText> read_clinc150(const std::string& file, const std::string& content, const std::string& split) {
  Json all;
  try {
    all = parse_json(content, {kMaxFile, 4});
  } catch (const std::exception& error) {
    throw DataError(file + ": " + error.what());
  }
  if (!all.is_object() || !all.contains(split) || !all.at(split).is_array()) throw DataError(file + ": no list " + quoted(split) + " (is this CLINC150's data_full.json?)");
  std::vector<RawText> texts;
  int64_t entry = 0;
  for (const auto& pair : all.at(split)) {
    ++entry;
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string())
      fail_at(file, entry, "entry " + std::to_string(entry) + " of " + quoted(split) + " is not [text, intent]");
    texts.push_back(labelled(file, entry, pair[0].get<std::string>(), pair[1].get<std::string>()));
  }
  return texts;
}

std::vector<RawText> parse_raw(const std::string& file, const std::string& content, Task task, Format format, const Columns& columns,
                               const std::string& split, std::string* scheme) {
  check_utf8(file, content);
  const Format found = format_of(file, task, format);
  if ((found == Format::kConll) != (task == Task::kTokenClassification))
    throw DataError(file + (found == Format::kConll ? ": CoNLL columns are for token classification" : ": token classification needs CoNLL columns"));
  switch (found) {
    case Format::kConll: return read_conll(file, content, columns, scheme);
    case Format::kCsv: return read_table(file, content, columns, ',');
    case Format::kTsv: return read_table(file, content, columns, '\t');
    case Format::kJsonl: return read_jsonl(file, content, columns);
    case Format::kClinc150: return read_clinc150(file, content, split);
    default: throw DataError(file + ": is a prepared file, not raw text");
  }
}

std::vector<RawText> read_raw(const std::string& file, Task task, Format format, const Columns& columns, const std::string& split, std::string* scheme,
                              std::string* sha256) {
  if (!std::filesystem::is_regular_file(file)) throw DataError(file + ": no such file");
  const auto content = read_file(posix_files(), file, kMaxFile);
  if (sha256) *sha256 = sha256_hex(content.data(), content.size());
  return parse_raw(file, content, task, format, columns, split, scheme);
}

}  // namespace fmtrain
