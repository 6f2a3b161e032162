// Scores of sequence classification, held as integers only: ranks add their counts, and every rank count gives the same
// metrics.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/json.h"
#include "runtime/metrics/scores.h"

namespace fmtrain {

class ClassCounts {
 public:
  /// Counts for `texts` texts, all zero. DataError without labels or with one named twice.
  ClassCounts(std::vector<std::string> labels, int64_t texts);

  /// Count one text, once over all ranks. Broken invariants throw std::logic_error: ids out of range, a text counted before.
  void add_text(int64_t text, int32_t gold, int32_t predicted);

  /// All counts, [texts, 2]: gold + 1 and predicted + 1, 0: not counted here. The sum over ranks is the vector of the whole;
  /// the confusion matrix follows from it.
  std::vector<int64_t>& values() { return values_; }
  const std::vector<int64_t>& values() const { return values_; }

  const std::vector<std::string>& labels() const { return labels_; }
  int64_t texts() const { return texts_; }
  /// {gold, predicted}, {-1, -1}: not counted. std::logic_error when two ranks counted the text.
  std::pair<int64_t, int64_t> pair(int64_t text) const;
  std::vector<Tally> classes(std::span<const int64_t> texts) const;  ///< per label, over a list of texts (repeats count)

 private:
  std::vector<std::string> labels_;
  int64_t texts_;
  std::vector<int64_t> values_;
};

/// What report.json holds of an evaluation, without "loss" (docs/evaluation.md defines every field):
/// {"headline": "accuracy", "metrics": {...}, "intervals": {...}, "per_label": [...], "averages": [...],
/// "confusion": {"labels", "cells": [[gold, predicted, texts], ...]}}. Fractions; null where a metric is not defined.
/// `bootstrap` resamples, 0: "intervals" is empty.
Json metrics_of(const ClassCounts& counts, int64_t bootstrap, uint64_t seed);

}  // namespace fmtrain
