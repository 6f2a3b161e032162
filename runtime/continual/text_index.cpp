#include "runtime/continual/text_index.h"

#include <algorithm>
#include <map>
#include <set>

#include "runtime/hash.h"

namespace fmtrain {
namespace {

uint64_t keyed(const std::string& key, const std::string& hash) {
  const std::string text = key + ":" + hash;
  return xxh3_64(text.data(), text.size());
}

int32_t class_of(const std::set<std::string>& labels) {
  std::string name;
  for (const auto& label : labels) name += (name.empty() ? "" : ",") + label;
  return static_cast<int32_t>(xxh3_64(name.data(), name.size()) >> 33);
}

void add_labelled(IndexedText& known, const StoredBatch& batch, const StoredText& text, int64_t position, int32_t klass) {
  if (known.newest.batch == 0) known.began_in_training = batch.role == TextRole::kTrain;
  known.example = {text.hash, klass, batch.time};
  known.newest = {batch.number, position};
  if (batch.role == TextRole::kIncoming) known.newest_incoming = batch.number;
}

void add_batch(TextIndex& index, const TextStore& store, const StoredBatch& batch, double test_share) {
  int64_t position = 0;
  for (const auto& text : store.read(batch)) {
    auto& known = index.texts[text.hash];
    known.tested = in_test_share(text.hash, test_share);
    if (batch.role == TextRole::kValidation || batch.role == TextRole::kCore) {
      known.frozen = true;
      continue;
    }
    const auto labels = label_names(text.raw, store.task());
    if (batch.role == TextRole::kTrain) index.base_labels.insert(labels.begin(), labels.end());
    add_labelled(known, batch, text, position++, class_of(labels));
  }
}

}  // namespace

std::set<std::string> label_names(const RawText& text, Task task) {
  if (task == Task::kSequenceClassification) return {text.label};
  std::set<std::string> types;
  for (const auto& tag : text.tags)
    if (tag != "O") types.insert(tag.substr(2));
  return types;
}

bool in_test_share(const std::string& hash, double test_share) {
  return static_cast<double>(keyed("rolling test", hash) >> 11) * 0x1p-53 < test_share;
}

std::vector<StoredBatch> batches_until(const TextStore& store, int64_t last) {
  auto batches = store.batches();
  const auto incoming =
      std::find_if(batches.begin(), batches.end(), [](const auto& b) { return b.role == TextRole::kIncoming; });
  batches.erase(std::find_if(incoming, batches.end(), [&](const auto& b) { return b.number > last; }), batches.end());
  return batches;
}

TextIndex index_texts(const TextStore& store, int64_t last, double test_share) {
  TextIndex index;
  for (const auto& batch : batches_until(store, last))
    if (batch.labelled) add_batch(index, store, batch, test_share);
  return index;
}

std::vector<RawText> texts_at(const TextStore& store, const std::vector<TextPlace>& places) {
  std::map<TextPlace, std::vector<size_t>> wanted;
  for (size_t i = 0; i < places.size(); ++i) wanted[places[i]].push_back(i);
  std::vector<RawText> texts(places.size());
  for (const auto& batch : store.batches()) {
    auto next = wanted.lower_bound({batch.number, 0});
    const auto end = wanted.lower_bound({batch.number + 1, 0});
    if (next == end) continue;
    const auto stored = store.read(batch);
    for (; next != end; ++next)
      for (const size_t i : next->second) texts[i] = stored.at(static_cast<size_t>(next->first.position)).raw;
  }
  return texts;
}

void sort_by_key(std::vector<Example>& examples, const std::string& key) {
  std::vector<std::pair<uint64_t, Example>> order;
  for (auto& e : examples) order.emplace_back(keyed(key, e.hash), std::move(e));
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < order.size(); ++i) examples[i] = std::move(order[i].second);
}

}  // namespace fmtrain
