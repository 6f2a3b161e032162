#include "runtime/continual/cycle_data.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <set>
#include <stdexcept>
#include <unordered_map>

#include "runtime/continual/near_duplicates.h"
#include "runtime/continual/reservoir.h"
#include "runtime/continual/text_index.h"
#include "runtime/data/write_raw.h"
#include "runtime/errors.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {

constexpr int64_t kFewReferences = 1000;
constexpr size_t kMostLines = 20;

int64_t size_of(const auto& list) { return static_cast<int64_t>(list.size()); }

/// Of the texts that `use` says yes to; by hash, for the index has no order.
template <class Use>
std::vector<Example> examples_of(const TextIndex& index, Use use) {
  std::vector<Example> chosen;
  for (const auto& [hash, text] : index.texts)
    if (use(text)) chosen.push_back(text.example);
  return unique_examples(std::move(chosen));
}

/// The `most` newest of the texts that `use` says yes to, in the order they came.
template <class Use>
std::vector<TextPlace> newest_of(const TextIndex& index, int64_t most, Use use) {
  std::vector<TextPlace> places;
  for (const auto& [hash, text] : index.texts)
    if (use(text)) places.push_back(text.newest);
  std::sort(places.begin(), places.end());
  if (size_of(places) > most) places.erase(places.begin(), places.end() - most);
  return places;
}

std::vector<TextPlace> places_of(const TextIndex& index, const std::vector<Example>& examples) {
  std::vector<TextPlace> places;
  for (const auto& e : examples) places.push_back(index.texts.at(e.hash).newest);
  return places;
}

/// Texts of the batches of a role, each once, in their order.
std::vector<StoredText> texts_of(const TextStore& store, const std::vector<StoredBatch>& batches, TextRole role, Hashes& seen) {
  std::vector<StoredText> texts;
  for (const auto& batch : batches)
    if (batch.role == role)
      for (auto& text : store.read(batch))
        if (seen.insert(text.hash).second) texts.push_back(std::move(text));
  return texts;
}

/// Up to `count` of the reservoir: by class and time as a smaller reservoir would keep them, the rest of them drawn from all.
std::vector<Example> draw_replay(const std::vector<Example>& pool, int64_t count, int64_t cycle,
                                 const CycleDataOptions& options) {
  const std::string key = "replay:" + std::to_string(options.seed) + ":" + std::to_string(cycle);
  ReservoirOptions reservoir{.capacity = options.replay_capacity, .seed = options.seed};
  const auto kept = add_to_reservoir({}, pool, reservoir).examples;
  reservoir.capacity = count;
  reservoir.seed = xxh3_64(key.data(), key.size());
  auto drawn = add_to_reservoir({}, kept, reservoir).examples;
  Hashes taken;
  for (const auto& e : drawn) taken.insert(e.hash);
  auto rest = kept;
  exclude(rest, taken);
  sort_by_key(rest, key);
  for (size_t i = 0; i < rest.size() && size_of(drawn) < count; ++i) drawn.push_back(rest[i]);
  return unique_examples(std::move(drawn));
}

int64_t replay_count(int64_t fresh, double share) {
  if (!(share >= 0 && share < 1)) throw std::invalid_argument("a share of replay outside [0, 1)");
  return std::llround(static_cast<double>(fresh) * share / (1 - share));
}

struct Chosen {
  std::vector<Example> fresh, replayed;
};

Chosen choose(const TextIndex& index, int64_t first, int64_t cycle, const CycleDataOptions& options) {
  const auto is_fresh = [&](const IndexedText& t) { return t.newest_incoming > first; };
  Chosen chosen{examples_of(index, [&](const IndexedText& t) { return t.trains() && is_fresh(t); }),
                examples_of(index, [&](const IndexedText& t) { return t.trains() && !is_fresh(t); })};
  if (!options.all)
    chosen.replayed = draw_replay(chosen.replayed, replay_count(size_of(chosen.fresh), options.replay_share), cycle, options);
  return chosen;
}

/// Nothing that any test set ever had or will have; a break is a fault of this program.
void require_no_leak(const TextIndex& index, const std::vector<Example>& train) {
  Hashes tests;
  for (const auto& [hash, text] : index.texts)
    if (text.frozen || text.rolling()) tests.insert(hash);
  if (leaked(train, tests) != 0) throw std::logic_error("a test text was chosen for training");
}

std::vector<std::string> plain_texts(const std::vector<RawText>& texts, Task task) {
  std::vector<std::string> plain;
  for (const auto& text : texts) plain.push_back(plain_text(text, task));
  return plain;
}

/// By numbers in the files, not by their words: these lines may stand in logs.
void add_near_duplicates(CycleData& data, const char* name, const std::vector<RawText>& tests,
                         const std::vector<std::string>& train, Task task) {
  for (const auto& pair : near_duplicates(plain_texts(tests, task), train)) {
    if (data.near_duplicates.size() == kMostLines) return;
    data.near_duplicates.push_back(std::string(name) + " text " + std::to_string(pair.test + 1) + " and train text " +
                                   std::to_string(pair.train + 1) + ": similarity " +
                                   std::to_string(pair.similarity).substr(0, 4));
  }
}

/// The directory of a cycle and the files in it.
class Folder {
 public:
  Folder(FileOps& files, const std::string& directory, Task task) : files_(files), directory_(directory), task_(task) {
    if (const int error = files.make_dir(directory); error && error != EEXIST)
      throw StorageError(directory + ": cannot create: " + std::strerror(error));
    remove_temporaries(files, directory, [&](const std::string& name) {
      for (const char* own : {"train", "rolling", "core"})
        if (name == own + std::string(raw_extension(task))) return true;
      return name == "data.manifest" || name == "replay.manifest";
    });
  }
  void write(const std::string& name, const std::vector<RawText>& texts) const {
    write_file_atomic(files_, directory_ + "/" + name + raw_extension(task_), write_raw(texts, task_));
  }
  std::string write_manifest(const std::string& name, const std::vector<Example>& examples) const {
    const std::string text = print_manifest(examples);
    write_file_atomic(files_, directory_ + "/" + name, text);
    return sha256_hex(text.data(), text.size());
  }

 private:
  FileOps& files_;
  std::string directory_;
  Task task_;
};

std::vector<RawText> core_texts(const TextStore& store, int64_t last) {
  Hashes seen;
  std::vector<RawText> texts;
  for (auto& text : texts_of(store, batches_until(store, last), TextRole::kCore, seen)) texts.push_back(std::move(text.raw));
  return texts;
}

/// Takes out texts with labels that are none of `known`; returns how many went. A prepared file cannot hold them.
int64_t leave_out_unknown(std::vector<RawText>& texts, const std::set<std::string>& known, Task task) {
  return std::erase_if(texts, [&](const RawText& text) { return !std::ranges::includes(known, label_names(text, task)); });
}

/// "B-X" of a model's labels is X of a text's.
void add_known(std::set<std::string>& known, const std::vector<std::string>& labels, Task task) {
  for (const auto& label : labels)
    known.insert(task == Task::kTokenClassification && label.size() > 2 ? label.substr(2) : label);
}

std::set<std::string> known_labels(const TextIndex& index, const std::vector<RawText>& train, const CycleDataOptions& options,
                                   Task task) {
  std::set<std::string> known = index.base_labels;
  add_known(known, options.known_labels, task);
  for (const auto& text : train) known.merge(label_names(text, task));
  return known;
}

/// Of validation and core what no training batch has.
std::vector<RawText> first_references(const TextStore& store, int64_t most) {
  const auto batches = batches_until(store, 0);
  Hashes seen;
  texts_of(store, batches, TextRole::kTrain, seen);
  std::vector<Example> order;
  std::unordered_map<std::string, RawText> found;
  for (const auto role : {TextRole::kValidation, TextRole::kCore})
    for (auto& text : texts_of(store, batches, role, seen)) {
      order.push_back({text.hash, 0, 0});
      found[text.hash] = std::move(text.raw);
    }
  sort_by_key(order, "reference");
  std::vector<RawText> texts;
  for (size_t i = 0; i < order.size() && size_of(texts) < most; ++i) texts.push_back(std::move(found.at(order[i].hash)));
  return texts;
}

}  // namespace

int64_t new_labelled(const TextStore& store, int64_t first, int64_t last, const CycleDataOptions& options) {
  return size_of(examples_of(index_texts(store, last, options.test_share),
                             [&](const IndexedText& t) { return t.trains() && t.newest_incoming > first; }));
}

CycleData freeze_cycle_data(const TextStore& store, int64_t first, int64_t last, int64_t cycle, const CycleDataOptions& options,
                            FileOps& files, const std::string& directory) {
  const auto index = index_texts(store, last, options.test_share);
  const auto chosen = choose(index, first, cycle, options);
  auto train = chosen.fresh;
  train.insert(train.end(), chosen.replayed.begin(), chosen.replayed.end());
  if (train.empty()) throw DataError("no labelled text is left to train on: put more into the incoming folder");
  require_no_leak(index, train);
  sort_by_key(train, "order:" + std::to_string(options.seed) + ":" + std::to_string(cycle));

  const Task task = store.task();
  const auto core = core_texts(store, last), texts = texts_at(store, places_of(index, train));
  auto rolling = texts_at(
      store, newest_of(index, options.window, [&](const auto& t) { return t.rolling() && t.newest_incoming > first; }));
  CycleData data;
  data.unknown = leave_out_unknown(rolling, known_labels(index, texts, options, task), task);
  data.fresh = size_of(chosen.fresh), data.replayed = size_of(chosen.replayed);
  data.rolling = size_of(rolling), data.core = size_of(core);
  data.excluded = size_of(examples_of(index, [](const IndexedText& t) { return t.frozen && t.newest.batch > 0; }));
  const auto plain = plain_texts(texts, task);
  add_near_duplicates(data, "rolling", rolling, plain, task);
  add_near_duplicates(data, "core", core, plain, task);

  const Folder folder(files, directory, task);
  folder.write("train", texts);
  folder.write("rolling", rolling);
  folder.write("core", core);
  data.dataset_sha256 = folder.write_manifest("data.manifest", train);
  if (!chosen.replayed.empty()) data.replay_sha256 = folder.write_manifest("replay.manifest", chosen.replayed);
  return data;
}

Json cycle_data_json(const CycleData& data) {
  return {{"fresh", data.fresh},
          {"replayed", data.replayed},
          {"rolling", data.rolling},
          {"core", data.core},
          {"excluded", data.excluded},
          {"unknown", data.unknown},
          {"dataset_sha256", data.dataset_sha256},
          {"replay_sha256", data.replay_sha256},
          {"near_duplicates", data.near_duplicates}};
}

std::vector<RawText> reference_texts(const TextStore& store, int64_t first, int64_t last, const CycleDataOptions& options,
                                     int64_t most) {
  if (last == 0) return first_references(store, most);
  const auto index = index_texts(store, last, options.test_share);
  const auto held_out = [](const IndexedText& t) { return t.rolling(); };
  auto places = newest_of(index, most, [&](const IndexedText& t) { return t.rolling() && t.newest_incoming > first; });
  if (size_of(places) < kFewReferences) places = newest_of(index, std::min(most, kFewReferences), held_out);
  auto texts = texts_at(store, places);
  std::set<std::string> known;
  add_known(known, options.known_labels, store.task());
  if (!known.empty()) leave_out_unknown(texts, known, store.task());
  return texts;
}

std::vector<RawText> window_texts(const TextStore& store, int64_t after, int64_t window, std::vector<std::string>* hashes) {
  const auto batches = store.batches();
  std::vector<StoredText> newest;  // newest first
  Hashes seen;
  for (auto batch = batches.rbegin(); batch != batches.rend() && batch->number > after && size_of(newest) < window; ++batch) {
    if (batch->role != TextRole::kIncoming) continue;
    auto texts = store.read(*batch);
    for (auto text = texts.rbegin(); text != texts.rend() && size_of(newest) < window; ++text)
      if (seen.insert(text->hash).second) newest.push_back(std::move(*text));
  }
  std::vector<RawText> texts;
  if (hashes) hashes->clear();
  for (auto text = newest.rbegin(); text != newest.rend(); ++text) {
    texts.push_back(std::move(text->raw));
    if (hashes) hashes->push_back(std::move(text->hash));
  }
  return texts;
}

}  // namespace fmtrain
