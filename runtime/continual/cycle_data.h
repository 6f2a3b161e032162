// Which texts a cycle trains on and which it is tested on. All is a function of the store's batches, the options and the
// cycle's number: whoever repeats it writes the same files.
//
// Of every labelled incoming text its own hash says whether it is ever trained on: a share of all texts belongs to the rolling
// tests, for good. So no text can move from a test set into training or replay in a later cycle (text_index.h has the rules,
// also for texts that stand in several files). Of several texts with one content the newest counts: its label is trained on or
// tested.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/continual/text_store.h"
#include "runtime/json.h"

namespace fmtrain {

struct CycleDataOptions {
  /// Of labelled incoming texts: those whose keyed hash is small, of every cycle the same ones. Another share than in earlier
  /// cycles would move texts between tests and training.
  double test_share = 0.3;
  int64_t window = 1000;       ///< at most so many texts in a rolling test: the newest
  double replay_share = 0.25;  ///< of the training texts of a cycle
  int64_t replay_capacity = 50'000;
  bool all = false;  ///< train on all retained texts (base training set and every incoming one) instead of new + replay
  std::vector<std::string> known_labels;  ///< of the champion, in any order; those of the base training set need not be here
  uint64_t seed = 1;
};

/// The files of one cycle, in its directory; all in the form of write_raw.h with raw_extension(task).
struct CycleData {
  int64_t fresh = 0, replayed = 0;  ///< texts trained on: of this cycle's batches; of earlier ones
  int64_t rolling = 0, core = 0;    ///< texts of the two test sets
  int64_t excluded = 0;             ///< texts of training and incoming files that core or validation have: never trained on
  int64_t unknown = 0;              ///< texts left out of the rolling test: neither the champion nor `train` has their labels
  std::string dataset_sha256,
      replay_sha256;  ///< of the manifests (examples.h) data.manifest and replay.manifest; "": no replay
  std::vector<std::string>
      near_duplicates;  ///< at most 20 lines, for people: numbers of test text and training text, similarity
};

/// Labelled incoming texts in batches (first, last] that would be trained on; for the trigger "new data".
int64_t new_labelled(const TextStore& store, int64_t first, int64_t last, const CycleDataOptions& options);

/// Writes train, rolling and core (train.conll ...), and the manifests of all texts trained on and of those replayed (none: no
/// file) into `directory`, which is made where it is not there. Fresh texts are the labelled incoming ones of batches (first,
/// last]; rolling tests are of those too, and may be empty files. Replay is drawn from the reservoir of the training batches
/// and all incoming batches up to `first`: stratified by class and time (reservoir.h), the same for the same `cycle`. A tagged
/// text's class is the set of its entity types. With `all`, what is not fresh counts as replayed. Order of train: by keyed hash
/// of (seed, cycle). Throws DataError when nothing is left to train on; CheckpointError where the store is damaged;
/// StorageError.
CycleData freeze_cycle_data(const TextStore& store, int64_t first, int64_t last, int64_t cycle, const CycleDataOptions& options,
                            FileOps& files, const std::string& directory);
Json cycle_data_json(const CycleData& data);

/// Held-out texts that stand for what the champion was made for, at most `most`, each once, in the order they came: of the
/// batches (first, last] of its cycle the newest that belong to rolling tests; when these are fewer than 1,000, of earlier
/// batches too, newest first, up to 1,000. Where `last` is 0 (the first version): of validation and core what no training batch
/// has, drawn by hash. Where options.known_labels are given, texts with other labels are left out.
std::vector<RawText> reference_texts(const TextStore& store, int64_t first, int64_t last, const CycleDataOptions& options,
                                     int64_t most = 5000);

/// The newest `window` incoming texts of batches after `after`, labelled or not, each once, in the order they came. `hashes`
/// gets theirs. Their labels may be "" or ones that no model knows: whoever prepares them for a model sets them first.
std::vector<RawText> window_texts(const TextStore& store, int64_t after, int64_t window, std::vector<std::string>* hashes);

}  // namespace fmtrain
