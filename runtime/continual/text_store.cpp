#include "runtime/continual/text_store.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include "runtime/continual/incoming_files.h"
#include "runtime/continual/lineage.h"
#include "runtime/continual/sealed_json.h"
#include "runtime/data/prepare.h"
#include "runtime/data/write_raw.h"
#include "runtime/errors.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {

constexpr size_t kLargestBatch = size_t{8} << 30;
constexpr int64_t kLastBatch = 999'999;
/// Stands in the file of a batch without labels, for a reader takes no empty one.
constexpr const char* kNoLabel = "-";

constexpr std::array<TextRole, 4> kRoles{TextRole::kTrain, TextRole::kValidation, TextRole::kCore, TextRole::kIncoming};

Json record_of(const StoredBatch& batch, Task task) {
  return {{"format", 1},
          {"task", task == Task::kTokenClassification ? "token-classification" : "sequence-classification"},
          {"number", batch.number},
          {"role", text_role_name(batch.role)},
          {"file", batch.file},
          {"source_sha256", batch.source_sha256},
          {"content_sha256", batch.content_sha256},
          {"time", batch.time},
          {"texts", batch.texts},
          {"labelled", batch.labelled}};
}

/// Throws std::runtime_error that says what is wrong.
StoredBatch parse_batch(const Json& record, Task task) {
  StoredBatch batch;
  require_members(record,
                  {"format", "task", "number", "role", "file", "source_sha256", "content_sha256", "time", "texts", "labelled"});
  whole_of(record, "format", 1, 1);
  if (text_of(record, "task") != text_of(record_of(batch, task), "task"))
    throw std::runtime_error("is of another task than model.task");
  batch.number = whole_of(record, "number", 1, kLastBatch);
  const auto role =
      std::find_if(kRoles.begin(), kRoles.end(), [&](TextRole r) { return text_of(record, "role") == text_role_name(r); });
  if (role == kRoles.end()) throw std::runtime_error("role is none");
  batch.role = *role;
  batch.file = text_of(record, "file");
  batch.source_sha256 = sha256_of(record, "source_sha256");
  batch.content_sha256 = sha256_of(record, "content_sha256");
  batch.time = whole_of(record, "time");
  batch.texts = whole_of(record, "texts", 1);
  if (!record.at("labelled").is_boolean()) throw std::runtime_error("labelled is not true or false");
  batch.labelled = record.at("labelled");
  return batch;
}

/// 7 of 000007.json; 0 of other names.
int64_t record_number(const std::string& name) {
  return name.ends_with(".json") ? version_of(name.substr(0, name.size() - 5)) : 0;
}

const StoredBatch* same_source(const std::vector<StoredBatch>& batches, TextRole role, const std::string& sha256,
                               bool labelled) {
  const auto found = std::find_if(batches.begin(), batches.end(), [&](const StoredBatch& b) {
    return b.role == role && b.source_sha256 == sha256 && (b.labelled || !labelled);
  });
  return found == batches.end() ? nullptr : &*found;
}

}  // namespace

const char* text_role_name(TextRole role) {
  switch (role) {
    case TextRole::kTrain:
      return "train";
    case TextRole::kValidation:
      return "validation";
    case TextRole::kCore:
      return "core";
    default:
      return "incoming";
  }
}

std::string plain_text(const RawText& text, Task task) {
  if (task == Task::kSequenceClassification) return text.text;
  std::string words;
  for (const auto& word : text.words) words += (words.empty() ? "" : " ") + word;
  return words;
}

std::string TextStore::content_file(int64_t number) const {
  return directory_ + "/texts/" + version_name(number) + raw_extension(task_);
}

std::vector<StoredBatch> TextStore::batches() const {
  const std::string folder = directory_ + "/texts";
  std::vector<std::string> names;
  if (const int error = files_.list(folder, &names); error != ENOENT) require_success(error, folder, "list");
  std::vector<StoredBatch> found;
  for (const auto& name : names) {  // sorted
    const int64_t number = record_number(name);
    if (!number) continue;
    const std::string path = folder + "/" + name;
    if (number != static_cast<int64_t>(found.size()) + 1)
      throw CheckpointError(folder + "/" + version_name(std::ssize(found) + 1) +
                            ".json: is missing, but later ones are there; put it back");
    const Json record = read_sealed(files_, path);
    try {
      found.push_back(parse_batch(record, task_));
      if (found.back().number != number) throw std::runtime_error("is the record of another batch");
    } catch (const std::runtime_error& error) {
      throw CheckpointError(path + ": " + error.what());
    }
  }
  return found;
}

std::vector<StoredText> TextStore::read(const StoredBatch& batch) const {
  const std::string path = content_file(batch.number);
  const std::string content = read_file(files_, path, kLargestBatch, Links::kRefuse);
  if (sha256_hex(content.data(), content.size()) != batch.content_sha256)
    throw CheckpointError(path + ": is not what its record says; it was damaged or changed by hand");
  std::vector<StoredText> texts;
  for (auto& raw : parse_raw(path, content, task_, Format::kAuto, {}, "", nullptr)) {
    if (!batch.labelled) raw.label.clear();
    auto& text = texts.emplace_back(StoredText{std::move(raw), "", batch.number});
    text.hash = content_hash(plain_text(text.raw, task_));
  }
  if (std::ssize(texts) != batch.texts) throw CheckpointError(path + ": holds another number of texts than its record says");
  return texts;
}

StoredBatch TextStore::add(TextRole role, const std::string& file, Format format, const Columns& columns,
                           const std::string& split, int64_t now) {
  if (is_prepared(file, format))
    throw DataError(file + ": is a prepared file, which holds no texts; continual fine-tuning needs the raw text");
  Source source{std::filesystem::path(file).filename().string(), "", true};
  auto texts = read_raw(file, task_, format, columns, split, nullptr, &source.sha256);
  const auto known = batches();
  if (const auto* same = same_source(known, role, source.sha256, true)) return *same;
  try {
    return store(known, role, source, std::move(texts), now);
  } catch (const DataError& error) {
    throw DataError(file + ": " + error.what());
  }
}

TextStore::Taken TextStore::take(const std::string& incoming, Format format, const Columns& columns, int64_t now) {
  Taken taken;
  auto known = batches();
  for (const auto& file : incoming_files(files_, incoming, &taken.refused)) {
    const std::string path = file.path();
    try {
      const auto content = read_incoming(files_, file);
      if (!content) continue;
      const Source source{file.name, sha256_hex(content->data(), content->size()), file.labelled};
      if (same_source(known, TextRole::kIncoming, source.sha256, source.labelled)) continue;
      auto texts = file.labelled ? parse_raw(path, *content, task_, format, columns, "train", nullptr)
                                 : read_unlabelled(path, *content, task_, columns);
      known.push_back(store(known, TextRole::kIncoming, source, std::move(texts), now));
      taken.batches.push_back(known.back());
    } catch (const DataError& error) {
      const std::string what = error.what();
      taken.refused.push_back(what.starts_with(path) ? what : path + ": " + what);
    }
  }
  return taken;
}

void TextStore::make_folder() const {
  const std::string folder = directory_ + "/texts";
  if (const int error = files_.make_dir(folder); error != EEXIST) require_success(error, folder, "create");
  int fd = -1;
  require_success(files_.open_plain(folder, &fd), folder, "open");
  files_.close(fd);
  require_success(files_.sync_dir(directory_), directory_, "sync");
  remove_temporaries(files_, folder, [](const std::string& name) {
    const size_t dot = name.find('.');
    return dot != std::string::npos && version_of(name.substr(0, dot)) != 0;
  });
}

StoredBatch TextStore::store(const std::vector<StoredBatch>& known, TextRole role, const Source& source,
                             std::vector<RawText> texts, int64_t now) {
  if (texts.empty()) throw DataError("holds no text");
  if (std::ssize(known) == kLastBatch) throw StorageError(directory_ + "/texts: is full: 999,999 files were taken");
  if (!source.labelled)
    for (auto& text : texts) text.label = kNoLabel;
  const std::string content = write_raw(texts, task_);
  StoredBatch batch{
      std::ssize(known) + 1, role,           source.name, source.sha256, sha256_hex(content.data(), content.size()), now,
      std::ssize(texts),     source.labelled};
  const std::string record = seal_readable(record_of(batch, task_), [&](const Json& r) { parse_batch(r, task_); });
  make_folder();
  write_file_atomic(files_, content_file(batch.number), content);
  write_file_atomic(files_, directory_ + "/texts/" + version_name(batch.number) + ".json", record);
  return batch;
}

}  // namespace fmtrain
