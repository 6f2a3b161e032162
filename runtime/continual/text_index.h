// What every labelled text of a store may be used for. A text is its content hash: the same text in two batches, with other
// labels or other blanks, is one.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/continual/text_store.h"

namespace fmtrain {

/// Where a text stands: batch and position in it. Later is larger.
struct TextPlace {
  int64_t batch = 0, position = 0;
  auto operator<=>(const TextPlace&) const = default;
};

struct IndexedText {
  Example example;                 ///< class and time of the newest labelled occurrence
  TextPlace newest;                ///< that occurrence
  int64_t newest_incoming = 0;     ///< its last incoming batch; 0: none
  bool began_in_training = false;  ///< its first labelled occurrence is in a training batch
  bool frozen = false;             ///< in a core or validation batch
  bool tested = false;             ///< of the share of rolling tests
  /// Tests win: what core or validation has is never trained on. Else the first occurrence decides, for good: a text of the
  /// base training set stays one to train on, an incoming one belongs to the rolling tests or not, by its hash.
  bool trains() const { return !frozen && (began_in_training || !tested); }
  bool rolling() const { return !frozen && !began_in_training && tested && newest_incoming > 0; }
};

struct TextIndex {
  std::unordered_map<std::string, IndexedText> texts;  ///< by content hash
  std::set<std::string> base_labels;                   ///< label_names() of the training batches
};

/// Is an incoming text of this content hash one of the share of rolling tests?
bool in_test_share(const std::string& hash, double test_share);

/// The batches that a cycle sees: those up to `last`, and all before the first incoming one.
std::vector<StoredBatch> batches_until(const TextStore& store, int64_t last);

/// Of the labelled ones of them. A text belongs to `test_share` by its hash alone: no seed, no label, no cycle moves it. class:
/// the first 31 bits of the XXH3 of its label names with a comma between each two.
TextIndex index_texts(const TextStore& store, int64_t last, double test_share);

/// The label, or the entity types.
std::set<std::string> label_names(const RawText& text, Task task);

/// The texts at these places, in their order. Each batch is read once.
std::vector<RawText> texts_at(const TextStore& store, const std::vector<TextPlace>& places);

/// Sorted by a hash of `key` and the content: an order that nothing but these decides.
void sort_by_key(std::vector<Example>& examples, const std::string& key);

}  // namespace fmtrain
