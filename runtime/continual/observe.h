// What a model says about every text of a data set: features for drift, probabilities for calibration and estimates,
// predictions for the gate. The same bits for every number of ranks.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "models/task_model.h"
#include "runtime/continual/calibration.h"
#include "runtime/continual/drift_report.h"
#include "runtime/continual/paired_bootstrap.h"
#include "runtime/data/dataset.h"

namespace fmtrain {

/// Of n texts, in the order of the data set.
struct Observation {
  int64_t dims = 0, classes = 0;
  /// [n, dims]: mean of the encoder's last hidden state over the text's tokens, [CLS] and [SEP] of each sample among them.
  std::vector<float> features;
  /// [n, classes]. Classification: softmax of the logits. Tagging: that of the word most likely to be of an entity (smallest
  /// p(O), the first of equals), so that its top class says whether the text has an entity, and of what type. A text without
  /// a word that has a token is surely O.
  std::vector<float> probabilities;
  std::vector<int32_t> labels;  ///< [n]: gold class; tagging: of that same word, or of the first one (O: none)
  std::vector<std::vector<int32_t>> gold, predicted;  ///< label ids of each text: one, or one a word
  std::vector<Quantity> quantities;  ///< "length" (tokens), "unknown" (share of tokens that are [UNK]; not without [UNK])
  double seconds_per_text = 0;       ///< the slowest rank's time for its share over that share's texts
  int64_t texts() const { return dims ? static_cast<int64_t>(features.size()) / dims : 0; }
  /// Views into this; `labelled` false: without labels.
  DriftSample sample(bool labelled) const;
  Probabilities rows() const { return {probabilities, classes}; }
};

/// With the names of its label ids.
struct NamedObservation {
  Observation seen;
  std::vector<std::string> labels;
};

/// Collective. A text cut into several samples is one: features over all its tokens. `unknown`: the tokenizer's id of [UNK],
/// -1: it has none. The encoder runs once, in evaluate()'s batches.
Observation observe(TaskModel& model, const Dataset& data, Communicator& comm, int32_t unknown);

/// What each text adds to the sums of the gate's metric, for both models on the same data set: tagging {correct, predicted,
/// truth} entities (strict), classification {correct, 1} in strata of the gold class. std::invalid_argument when the two are
/// not of the same texts with the same gold labels. `labels`: names of the classes by id.
PairedCounts paired_counts(const Observation& champion, const Observation& challenger, const std::vector<std::string>& labels,
                           Task task);

}  // namespace fmtrain
