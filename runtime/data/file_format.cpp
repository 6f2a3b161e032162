#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <random>
#include <set>

#include "runtime/data/dataset_file.h"
#include "runtime/data/h5.h"
#include "runtime/errors.h"
#include "runtime/file_ops.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {

const char* task_name(Task task) { return task == Task::kTokenClassification ? "token-classification" : "sequence-classification"; }

template <class T>
std::string hash_of(const std::vector<T>& values) {
  return xxh3_hex(values.data(), values.size() * sizeof(T));
}

/// XXH3 of each array. HDF5 reads a chunk that it no longer finds, for a flipped bit in its index, as zeros.
Json hashes_of(const DatasetFile& data) {
  Json hashes{{"tokens", data.stored ? data.stored->xxh3() : hash_of(data.tokens)}, {"offsets", hash_of(data.offsets)}, {"texts", hash_of(data.texts)}};
  if (data.info.task == Task::kSequenceClassification) {
    hashes["labels"] = hash_of(data.labels);
    return hashes;
  }
  hashes["word_offsets"] = hash_of(data.word_offsets);
  hashes["word_gold"] = hash_of(data.word_gold);
  hashes["word_token"] = hash_of(data.word_token);
  return hashes;
}

std::string description(const DatasetFile& data) {
  const auto& i = data.info;
  return Json{{"format", "fmtrain data set"},
              {"version", kDatasetVersion},
              {"task", task_name(i.task)},
              {"labels", i.labels},
              {"tokenizer_sha256", i.tokenizer_sha256},
              {"source_sha256", i.source_sha256},
              {"max_length", i.max_length},
              {"texts", i.texts},
              {"truncated_texts", i.truncated_texts},
              {"lost_words", i.lost_words},
              {"options", data.options},
              {"xxh3", hashes_of(data)}}
      .dump();
}

int64_t count_in(const Json& json, const char* name) {
  const auto& value = json.at(name);
  if (!value.is_number_integer() || value.get<int64_t>() < 0) throw std::runtime_error(std::string(name) + " is not a count");
  return value.get<int64_t>();
}

/// Fills *hashes with what it says about the arrays.
DatasetInfo parse_description(const std::string& file, const std::vector<uint8_t>& bytes, Json* hashes) {
  try {
    const Json json = parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, {64u << 20, 8});
    if (json.at("format") != "fmtrain data set") throw std::runtime_error("is not a description of a data set");
    if (json.at("version") != kDatasetVersion) throw std::runtime_error("has version " + json.at("version").dump() + ", this program reads " + std::to_string(kDatasetVersion));
    DatasetInfo info;
    const auto task = json.at("task").get<std::string>();
    if (task != task_name(Task::kTokenClassification) && task != task_name(Task::kSequenceClassification)) throw std::runtime_error("unknown task " + quoted(task));
    info.task = task == task_name(Task::kTokenClassification) ? Task::kTokenClassification : Task::kSequenceClassification;
    json.at("labels").get_to(info.labels);
    json.at("tokenizer_sha256").get_to(info.tokenizer_sha256);
    json.at("source_sha256").get_to(info.source_sha256);
    info.max_length = count_in(json, "max_length");
    info.texts = count_in(json, "texts");
    info.truncated_texts = count_in(json, "truncated_texts");
    info.lost_words = count_in(json, "lost_words");
    check_labels(info.labels, info.task);
    *hashes = json.at("xxh3");
    return info;
  } catch (const std::exception& error) {
    throw DataError(file + ": data set description: " + error.what());
  }
}

/// What must hold between the arrays; `fail` names the file.
class Checker {
 public:
  Checker(const std::string& file, const DatasetFile& data) : file_(file), data_(data) {}
  void run() const {
    const auto samples = static_cast<size_t>(data_.samples());
    offsets("offsets", data_.offsets, samples, static_cast<size_t>(data_.token_count()), 1);
    lengths();
    texts();
    if (data_.info.task == Task::kSequenceClassification) {
      if (data_.labels.size() != samples) fail("labels has another length than texts");
      for (size_t s = 0; s < samples; ++s) label("labels", s, data_.labels[s]);
      return;
    }
    offsets("word_offsets", data_.word_offsets, samples, data_.word_gold.size(), 0);
    if (data_.word_token.size() != data_.word_gold.size()) fail("word_token has another length than word_gold");
    for (size_t s = 0; s < samples; ++s) words(s);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw DataError(file_ + ": " + what); }
  void offsets(const char* name, const std::vector<int64_t>& o, size_t samples, size_t end, int64_t least) const {
    if (o.size() != samples + 1 || o.front() != 0 || o.back() != static_cast<int64_t>(end)) fail(std::string(name) + " does not span the data");
    for (size_t s = 0; s < samples; ++s)
      if (o[s + 1] - o[s] < least) fail(std::string(name) + "[" + std::to_string(s + 1) + "] is out of order");
  }
  void lengths() const {
    for (size_t s = 0; s + 1 < data_.offsets.size(); ++s)
      if (data_.offsets[s + 1] - data_.offsets[s] > data_.info.max_length) fail("sample " + std::to_string(s) + " is longer than max_length");
  }
  void texts() const {
    int32_t before = -1;
    for (size_t s = 0; s < data_.texts.size(); ++s) {
      if (data_.texts[s] < before || data_.texts[s] > before + 1) fail("texts[" + std::to_string(s) + "] is out of order");
      before = data_.texts[s];
    }
    if (before + 1 != data_.info.texts) fail("the description counts other texts than the data");
  }
  void label(const char* name, size_t at, int32_t id) const {
    if (id < 0 || id >= static_cast<int32_t>(data_.info.labels.size())) fail(std::string(name) + "[" + std::to_string(at) + "] is label " + std::to_string(id) + " of " + std::to_string(data_.info.labels.size()));
  }
  void words(size_t s) const {
    const auto length = static_cast<int32_t>(data_.offsets[s + 1] - data_.offsets[s]);
    int32_t before = 0;  // the first token is [CLS]
    for (auto w = static_cast<size_t>(data_.word_offsets[s]); w < static_cast<size_t>(data_.word_offsets[s + 1]); ++w) {
      label("word_gold", w, data_.word_gold[w]);
      const int32_t token = data_.word_token[w];
      if (token == -1) continue;
      if (token <= before || token >= length) fail("word_token[" + std::to_string(w) + "] is out of order");
      before = token;
    }
  }
  const std::string& file_;
  const DatasetFile& data_;
};

void write_arrays(const DatasetFile& data, const std::string& path) {
  H5Writer file(path);
  const std::string text = description(data);
  file.write("description", std::span<const uint8_t>(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  file.write("tokens", std::span<const int32_t>(data.tokens));
  file.write("offsets", std::span<const int64_t>(data.offsets));
  file.write("texts", std::span<const int32_t>(data.texts));
  if (data.info.task == Task::kTokenClassification) {
    file.write("word_offsets", std::span<const int64_t>(data.word_offsets));
    file.write("word_gold", std::span<const int32_t>(data.word_gold));
    file.write("word_token", std::span<const int32_t>(data.word_token));
  } else {
    file.write("labels", std::span<const int32_t>(data.labels));
  }
  file.close();
}

int fsync_path(const std::string& path) {
  int fd = -1;
  if (const int error = posix_files().open(path, &fd)) return error;
  const int error = posix_files().fsync(fd), closed = posix_files().close(fd);
  return error ? error : closed;
}

/// Not the process number alone: machines that share a file system may have the same ones.
std::string temporary_beside(const std::string& path) {
  std::random_device random;
  return path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(random());
}

}  // namespace

void check_labels(const std::vector<std::string>& labels, Task task) {
  if (labels.empty() || labels.size() > 100'000) throw std::runtime_error(std::to_string(labels.size()) + " labels");
  if (std::set<std::string>(labels.begin(), labels.end()).size() != labels.size()) throw std::runtime_error("a label occurs twice");
  if (task == Task::kSequenceClassification) return;
  bool pairs = labels[0] == "O" && labels.size() % 2 == 1;
  for (size_t i = 1; pairs && i < labels.size(); i += 2)
    pairs = labels[i].size() > 2 && labels[i].starts_with("B-") && labels[i + 1] == "I-" + labels[i].substr(2);
  if (!pairs) throw std::runtime_error("the labels are not O, then B- and I- of each type");
}

void write_dataset_file(const DatasetFile& data, const std::string& path) {
  const std::string temporary = temporary_beside(path), folder = std::filesystem::path(path).parent_path().string();
  try {
    write_arrays(data, temporary);
    int error = fsync_path(temporary);
    if (!error) error = posix_files().rename(temporary, path);
    if (!error) error = posix_files().sync_dir(folder.empty() ? "." : folder);
    if (error) throw StorageError(path + ": cannot write: " + std::strerror(error));
  } catch (...) {
    posix_files().unlink(temporary);
    throw;
  }
}

DatasetFile read_dataset_file(const std::string& path, int64_t in_memory) {
  DatasetFile data;
  H5Reader file(path);
  Json hashes;
  data.info = parse_description(path, file.read_bytes("description"), &hashes);
  if (file.extent_int32("tokens").count > static_cast<uint64_t>(in_memory)) data.stored = std::make_shared<StoredTokens>(file, path, "tokens");
  else data.tokens = file.read_int32("tokens");
  data.offsets = file.read_int64("offsets");
  data.texts = file.read_int32("texts");
  if (data.info.task == Task::kTokenClassification) {
    data.word_offsets = file.read_int64("word_offsets");
    data.word_gold = file.read_int32("word_gold");
    data.word_token = file.read_int32("word_token");
  } else {
    data.labels = file.read_int32("labels");
  }
  const Json found = hashes_of(data);
  for (const auto& [name, hash] : found.items())
    if (!hashes.contains(name) || hashes.at(name) != hash) throw DataError(path + ": data set " + name + ": is damaged (another hash)");
  Checker(path, data).run();
  const std::string content = Json{{"task", task_name(data.info.task)}, {"labels", data.info.labels}, {"xxh3", found}}.dump();
  data.info.content_sha256 = sha256_hex(content.data(), content.size());
  data.info.tokens = data.token_count();
  data.info.file_sha256 = sha256_file(path);
  return data;
}

}  // namespace fmtrain
