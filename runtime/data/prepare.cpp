#include "runtime/data/prepare.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "runtime/data/dataset_file.h"
#include "runtime/data/encode_texts.h"
#include "runtime/data/lines.h"
#include "runtime/data/raw.h"
#include "runtime/errors.h"
#include "runtime/hash.h"
#include "runtime/model_path.h"

namespace fmtrain {
namespace {

const char* name_of(Overlong overlong) {
  return overlong == Overlong::kSplit ? "split" : overlong == Overlong::kTruncate ? "truncate" : "error";
}

std::vector<std::string> labels_in(const std::vector<RawText>& texts, Task task) {
  std::set<std::string> found;
  for (const auto& text : texts) {
    if (task == Task::kSequenceClassification) found.insert(text.label);
    for (const auto& tag : text.tags)
      if (tag != "O") found.insert(tag.substr(2));
  }
  std::vector<std::string> labels;
  if (task == Task::kSequenceClassification) return {found.begin(), found.end()};
  labels.push_back("O");
  for (const auto& type : found) {
    labels.push_back("B-" + type);
    labels.push_back("I-" + type);
  }
  return labels;
}

/// Turns texts into samples, one after the other.
class Builder {
 public:
  Builder(const std::string& file, const PrepareOptions& options, const Tokenizer& tokenizer, const std::vector<std::string>& labels, PrepareResult& result)
      : file_(file), options_(options), tokenizer_(tokenizer), result_(result) {
    for (size_t i = 0; i < labels.size(); ++i) ids_[labels[i]] = static_cast<int32_t>(i);
  }

  void add(const RawText& text, EncodedText encoded) {
    try {
      if (encoded.error) std::rethrow_exception(encoded.error);
      if (options_.task == Task::kTokenClassification) add_tagged(text, encoded);
      else add_labelled(text, encoded.ids);
    } catch (const DataError& error) {
      const std::string what = error.what();
      if (what.compare(0, file_.size(), file_) == 0) throw;
      fail_at(file_, text.line, what);
    }
    ++data.info.texts;
  }

  DatasetFile data;

 private:
  int32_t id_of(int64_t line, const std::string& label) const {
    const auto found = ids_.find(label);
    if (found == ids_.end()) fail_at(file_, line, "label " + quoted(label) + " is not one of the " + std::to_string(ids_.size()) + " labels of the training set");
    return found->second;
  }

  void overlong(const RawText& text, size_t tokens) const {
    if (options_.overlong == Overlong::kError)
      fail_at(file_, text.line, "the text has " + std::to_string(tokens) + " tokens, more than data.max_length " + std::to_string(options_.max_length));
  }

  void add_labelled(const RawText& text, std::vector<int32_t>& ids) {
    const auto limit = static_cast<size_t>(options_.max_length);
    if (ids.size() > limit) {  // one label for one text: it cannot be split
      overlong(text, ids.size());
      ids.resize(limit);
      ids.back() = tokenizer_.sep_id();
      ++data.info.truncated_texts;
    }
    data.labels.push_back(id_of(text.line, text.label));
    close_sample(ids);
  }

  /// The tokens of each word, and its gold label.
  struct Words {
    std::vector<std::vector<int32_t>> tokens;
    std::vector<int32_t> gold;
    std::vector<bool> inside;  ///< continues a span: no cut before it
  };

  Words words_of(const RawText& text, const EncodedText& encoding) const {
    Words words{std::vector<std::vector<int32_t>>(text.words.size()), {}, {}};
    for (size_t i = 0; i < encoding.ids.size(); ++i)
      if (encoding.words[i] >= 0) words.tokens[static_cast<size_t>(encoding.words[i])].push_back(encoding.ids[i]);
    for (size_t w = 0; w < text.tags.size(); ++w) {
      words.gold.push_back(id_of(text.lines[w], text.tags[w]));
      words.inside.push_back(text.tags[w][0] == 'I');
    }
    return words;
  }

  void add_tagged(const RawText& text, const EncodedText& encoding) {
    Words words = words_of(text, encoding);
    const auto room = static_cast<size_t>(options_.max_length) - 2;
    size_t total = 0;
    for (auto& tokens : words.tokens) total += tokens.size();
    if (total <= room) return add_sample(words, 0, words.gold.size(), room);
    overlong(text, total + 2);
    if (options_.overlong == Overlong::kTruncate) {
      ++data.info.truncated_texts;
      return add_sample(words, 0, words.gold.size(), room);
    }
    ++result_.split_texts;
    for (size_t first = 0; first < words.gold.size();) {
      const size_t last = cut_after(words, first, room);
      add_sample(words, first, last, room);
      first = last;
    }
  }

  /// Where the sample that starts at word `first` ends: as late as fits, before a word that does not continue a span. A span
  /// longer than a whole sample is cut where the sample is full.
  static size_t cut_after(const Words& words, size_t first, size_t room) {
    size_t used = 0, last = first, allowed = first;
    while (last < words.gold.size() && (last == first || used + words.tokens[last].size() <= room)) {
      used += words.tokens[last++].size();
      if (last == words.gold.size() || !words.inside[last]) allowed = last;
    }
    return allowed > first ? allowed : last;
  }

  /// Words [first, last) as one sample; tokens that do not fit are lost, and so is a word whose first token is.
  void add_sample(const Words& words, size_t first, size_t last, size_t room) {
    std::vector<int32_t> ids{tokenizer_.cls_id()};
    for (size_t w = first; w < last; ++w) {
      const bool visible = !words.tokens[w].empty() && ids.size() <= room;
      if (!words.tokens[w].empty() && !visible) ++data.info.lost_words;
      data.word_gold.push_back(words.gold[w]);
      data.word_token.push_back(visible ? static_cast<int32_t>(ids.size()) : -1);
      for (size_t t = 0; t < words.tokens[w].size() && ids.size() <= room; ++t) ids.push_back(words.tokens[w][t]);
    }
    ids.push_back(tokenizer_.sep_id());
    data.word_offsets.push_back(static_cast<int64_t>(data.word_gold.size()));
    close_sample(ids);
  }

  void close_sample(const std::vector<int32_t>& ids) {
    data.tokens.insert(data.tokens.end(), ids.begin(), ids.end());
    data.offsets.push_back(static_cast<int64_t>(data.tokens.size()));
    data.texts.push_back(static_cast<int32_t>(data.info.texts));
  }

  const std::string& file_;
  const PrepareOptions& options_;
  const Tokenizer& tokenizer_;
  PrepareResult& result_;
  std::map<std::string, int32_t> ids_;
};

Json options_json(const PrepareOptions& o) {
  return Json{{"task", o.task}, {"format", o.format}, {"split", o.split}, {"text", o.columns.text}, {"label", o.columns.label}, {"word", o.columns.word},
              {"tag", o.columns.tag}, {"max_length", o.max_length}, {"overlong", name_of(o.overlong)}};
}

}  // namespace

bool is_prepared(const std::string& input, Format format) {
  return format == Format::kHdf5 || input.ends_with(".h5") || input.ends_with(".hdf5");
}

std::vector<std::string> labels_of(const std::string& input, const PrepareOptions& options) {
  const auto texts = read_raw(input, options.task, options.format, options.columns, options.split, nullptr);
  if (texts.empty()) throw DataError(input + ": holds no text");
  return labels_in(texts, options.task);
}

namespace {

/// `sha256` of the input as it was before, or "".
PrepareResult prepare(const std::string& input, const PrepareOptions& options, const Tokenizer& tokenizer, const std::string& output, const std::string& sha256) {
  PrepareResult result;
  std::string read_sha256;
  const auto texts = read_raw(input, options.task, options.format, options.columns, options.split, &result.scheme, &read_sha256);
  if (!sha256.empty() && read_sha256 != sha256) throw DataError(input + ": changed while it was being read; start again when it is complete");
  if (texts.empty()) throw DataError(input + ": holds no text");
  result.labels = options.labels.empty() ? labels_in(texts, options.task) : options.labels;
  Builder builder(input, options, tokenizer, result.labels, result);
  auto encoded = encode_texts(texts, options.task, tokenizer, options.threads);
  for (size_t i = 0; i < texts.size(); ++i) builder.add(texts[i], std::move(encoded[i]));
  auto& info = builder.data.info;
  info.task = options.task;
  info.labels = result.labels;
  info.tokenizer_sha256 = tokenizer.sha256();
  info.source_sha256 = read_sha256;
  info.max_length = options.max_length;
  builder.data.options = options_json(options);
  write_dataset_file(builder.data, output);
  result.texts = info.texts;
  result.samples = builder.data.samples();
  result.tokens = static_cast<int64_t>(builder.data.tokens.size());
  result.truncated_texts = info.truncated_texts;
  result.lost_words = info.lost_words;
  return result;
}

}  // namespace

PrepareResult prepare_file(const std::string& input, const PrepareOptions& options, const Tokenizer& tokenizer, const std::string& output) {
  return prepare(input, options, tokenizer, output, "");
}

std::string prepared_in_cache(const std::string& input, const PrepareOptions& options, const Tokenizer& tokenizer) {
  namespace fs = std::filesystem;
  if (is_prepared(input, options.format)) return input;
  if (!fs::is_regular_file(input)) throw DataError(input + ": no such file");
  Json key = options_json(options);
  key["labels"] = options.labels;
  key["source"] = sha256_file(input);
  key["tokenizer"] = tokenizer.sha256();
  key["version"] = kDatasetVersion;
  key["extension"] = fs::path(input).extension().string();
  const std::string text = key.dump(), folder = cache_dir() + "/data";
  const std::string path = folder + "/" + sha256_hex(text.data(), text.size()).substr(0, 32) + ".h5";
  if (fs::exists(path)) return path;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw StorageError(folder + ": cannot create: " + error.message());
  prepare(input, options, tokenizer, path, key["source"]);
  return path;
}

}  // namespace fmtrain
