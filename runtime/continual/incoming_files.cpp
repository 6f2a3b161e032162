#include "runtime/continual/incoming_files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/continual/lineage.h"
#include "runtime/data/lines.h"
#include "runtime/json.h"
#include "runtime/text/utf8.h"

namespace fmtrain {
namespace {

constexpr const char* kBlanks = " \t\r\n\v\f";
constexpr const char* kUnlabelled = "unlabelled";

bool incomplete(const std::string& name) {
  return name[0] == '.' || name.ends_with(".part") || name.ends_with(".tmp") || name.ends_with("~");
}

bool is_printable(const std::string& name) {
  size_t bad = 0;
  return is_plain_name(name) && valid_utf8(name, &bad);
}

std::string why_not(int error) {
  if (error == ELOOP) return "is a link; put the file itself there";
  if (error == EINVAL) return "is not a plain file";
  return std::string("cannot read: ") + std::strerror(error);
}

bool is_directory(FileOps& files, const std::string& path) {
  std::vector<std::string> names;
  return files.list(path, &names) == 0;
}

/// 0 where the folder can be listed; *names of it. Not following a link.
int list_plain(FileOps& files, const std::string& folder, std::vector<std::string>* names) {
  int fd = -1;
  if (const int error = files.open_plain(folder, &fd)) return error;
  files.close(fd);
  return files.list(folder, names);
}

void add_names(std::vector<IncomingFile>& found, const std::string& folder, const std::vector<std::string>& names,
               bool labelled, std::vector<std::string>* refused) {
  for (const auto& name : names) {
    if (incomplete(name) || (labelled && name == kUnlabelled)) continue;
    if (is_printable(name)) found.push_back({folder, name, labelled});
    else
      refused->push_back(folder + "/: a file is named " + quoted(name) +
                         "; give it a name without control characters, in UTF-8");
  }
}

RawText unlabelled(int64_t line, std::string text, Task task) {
  RawText raw;
  raw.line = line;
  if (task == Task::kSequenceClassification) {
    raw.text = std::move(text);
    return raw;
  }
  for (size_t end = 0, at = text.find_first_not_of(kBlanks); at != std::string::npos;
       at = text.find_first_not_of(kBlanks, end)) {
    end = std::min(text.find_first_of(kBlanks, at), text.size());
    raw.words.push_back(text.substr(at, end - at));
    raw.tags.emplace_back("O");
    raw.lines.push_back(line);
  }
  return raw;
}

std::string text_member(const std::string& file, const Lines& lines, const std::string& name) {
  Json row;
  try {
    row = parse_json(lines.text(), {kMaxLine, 16});
  } catch (const std::exception& error) {
    fail_at(file, lines.number(), error.what());
  }
  if (!row.is_object() || !row.contains(name) || !row.at(name).is_string())
    fail_at(file, lines.number(), "expected a JSON object with a text " + quoted(name) + " (data.columns.text)");
  return row.at(name).get<std::string>();
}

}  // namespace

std::vector<IncomingFile> incoming_files(FileOps& files, const std::string& incoming, std::vector<std::string>* refused) {
  std::vector<std::string> names;
  if (const int error = files.list(incoming, &names)) throw StorageError(incoming + ": cannot list: " + std::strerror(error));
  std::vector<IncomingFile> found;
  add_names(found, incoming, names, true, refused);
  if (std::find(names.begin(), names.end(), kUnlabelled) == names.end()) return found;
  const std::string folder = incoming + "/" + kUnlabelled;
  if (const int error = list_plain(files, folder, &names))
    refused->push_back(folder + ": " + (error == ENOTDIR ? "is not a folder" : why_not(error)));
  else add_names(found, folder, names, false, refused);
  return found;
}

std::optional<std::string> read_incoming(FileOps& files, const IncomingFile& file) {
  const std::string path = file.path();
  int fd = -1;
  if (const int error = files.open_plain(path, &fd)) {
    if (error == ENOENT) return {};
    throw DataError(path + ": " + why_not(error));
  }
  int64_t bytes = 0;
  int error = files.size(fd, &bytes);
  std::string content;
  const bool fits = bytes >= 0 && bytes <= static_cast<int64_t>(kLargestIncoming);
  if (!error && fits) {
    content.resize(static_cast<size_t>(bytes));
    error = files.read(fd, content.data(), content.size(), 0);
  }
  files.close(fd);
  if (is_directory(files, path)) return {};
  if (error) throw DataError(path + ": " + why_not(error));
  if (!fits) throw DataError(path + ": is larger than 256 MiB; divide it into several files");
  return content;
}

std::vector<RawText> read_unlabelled(const std::string& file, const std::string& content, Task task, const Columns& columns) {
  check_utf8(file, content);
  std::vector<RawText> texts;
  for (Lines lines(content); lines.next();) {
    if (lines.text().size() > kMaxLine) fail_at(file, lines.number(), "longer than 16 MiB");
    if (lines.text().find_first_not_of(kBlanks) == std::string_view::npos) continue;
    auto text = file.ends_with(".jsonl") ? text_member(file, lines, columns.text) : std::string(lines.text());
    if (text.find_first_not_of(kBlanks) == std::string::npos) continue;
    texts.push_back(unlabelled(lines.number(), std::move(text), task));
  }
  return texts;
}

}  // namespace fmtrain
