// Which texts a cycle trains on and which it is tested on. All is a function of the store's batches, the options and the cycle's
// number: whoever repeats it writes the same files.
//
// Of every labelled incoming text its own hash says whether it is ever trained on: a share of all texts belongs to the rolling
// tests, for good. So no text can move from a test set into training or replay in a later cycle.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/continual/text_store.h"
#include "runtime/json.h"

namespace fmtrain {

struct CycleDataOptions {
  double test_share = 0.3;        ///< of labelled incoming texts: those whose keyed hash is small, of every cycle the same ones
  int64_t window = 1000;          ///< at most so many texts in a rolling test: the newest
  double replay_share = 0.25;     ///< of the training texts of a cycle
  int64_t replay_capacity = 50'000;
  bool all = false;               ///< train on all retained texts (base training set and every incoming one) instead of new + replay
  uint64_t seed = 1;
};

/// The files of one cycle, in its directory; all in the form of write_raw.h with raw_extension(task).
struct CycleData {
  int64_t fresh = 0, replayed = 0;         ///< texts trained on: of this cycle's batches; of earlier ones
  int64_t rolling = 0, core = 0;           ///< texts of the two test sets
  int64_t excluded = 0;                    ///< texts left out of training because a test set has them
  std::string dataset_sha256, replay_sha256;  ///< of the manifests (examples.h) data.manifest and replay.manifest; "": no replay
  std::vector<std::string> near_duplicates;   ///< at most 20 lines, for people: test text, training text, similarity
};

/// Labelled incoming texts in batches (first, last] that would be trained on; for the trigger "new data".
int64_t new_labelled(const TextStore& store, int64_t first, int64_t last, const CycleDataOptions& options);

/// Writes train, rolling and core (train.conll ...), and both manifests into `directory`. Fresh texts are the labelled incoming
/// ones of batches (first, last]; rolling tests are of those too. Replay is drawn from the reservoir of the training batches and
/// all incoming batches up to `first`: stratified by class and time (reservoir.h), the same for the same `cycle`. A tagged text's
/// class is the set of its entity types. Order of train: by keyed hash of (seed, cycle). Throws DataError when nothing is left to
/// train on.
CycleData freeze_cycle_data(const TextStore& store, int64_t first, int64_t last, int64_t cycle, const CycleDataOptions& options,
                            FileOps& files, const std::string& directory);
Json cycle_data_json(const CycleData& data);

/// Held-out texts that stand for what the champion was made for, at most `most`: of its cycle's rolling test (batches (first, last]);
/// when these are fewer than 1,000, of earlier rolling tests, newest first; where `last` is 0 (the first version), of validation and
/// core, drawn by hash.
std::vector<RawText> reference_texts(const TextStore& store, int64_t first, int64_t last, const CycleDataOptions& options,
                                     int64_t most = 5000);

/// The newest `window` incoming texts of batches after `after`, labelled or not, in the order they came. `hashes` gets theirs.
std::vector<RawText> window_texts(const TextStore& store, int64_t after, int64_t window, std::vector<std::string>* hashes);

}  // namespace fmtrain
