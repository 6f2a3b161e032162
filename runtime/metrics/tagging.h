// Scores of token classification, held as integers only: ranks add their counts, and every rank count gives the same metrics.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/json.h"
#include "runtime/metrics/scores.h"
#include "runtime/metrics/tag_set.h"

namespace fmtrain {

class TaggingCounts {
 public:
  /// Counts for `texts` texts, all zero. DataError as TagSet.
  TaggingCounts(std::vector<std::string> labels, int64_t texts);

  /// Count one whole text (not a piece of one), once over all ranks. `gold` and `predicted` are label ids, one per word.
  /// Broken invariants throw std::logic_error: lengths that differ, ids out of range, a text counted before.
  void add_text(int64_t text, std::span<const int32_t> gold, std::span<const int32_t> predicted);

  /// All counts; the sum of this vector over ranks is the vector of the whole. Layout: confusion [L, L], strict [types, 3],
  /// lenient [types, 3], rows [texts, 3 * groups + 2].
  std::vector<int64_t>& values() { return values_; }
  const std::vector<int64_t>& values() const { return values_; }

  const TagSet& tags() const { return tags_; }
  int64_t texts() const { return texts_; }
  int64_t confusion(int64_t gold, int64_t predicted) const;  ///< words
  std::vector<Tally> entities(EntityMode mode) const;        ///< per type
  std::vector<Tally> words() const;                          ///< per label, from the confusion matrix

  /// One text's counts, for the bootstrap: strict entities per group, correct words, words.
  std::span<const int64_t> row(int64_t text) const;  ///< [3 * groups() + 2]
  /// Groups of a row: the types, or 1 (all types together) when rows of all types would need more than 128 MiB.
  int64_t groups() const { return groups_; }

 private:
  size_t entity_offset(EntityMode mode) const;
  size_t row_offset(int64_t text) const;
  size_t row_width() const { return static_cast<size_t>(3 * groups_ + 2); }
  void add_entities(EntityMode mode, std::span<const int32_t> gold, std::span<const int32_t> predicted, std::span<int64_t> row);
  TagSet tags_;
  int64_t texts_, groups_;
  std::vector<int64_t> values_;
};

/// What report.json holds of an evaluation, without "loss" (docs/evaluation.md defines every field):
/// {"headline": "f1", "metrics": {...}, "intervals": {...}, "per_label": [...], "averages": [...], "lenient": {"per_label",
/// "averages"}, "token_report": [...], "confusion": {"labels", "cells": [[gold, predicted, words], ...]}}. Fractions.
/// `bootstrap` resamples, 0: "intervals" is empty.
Json metrics_of(const TaggingCounts& counts, int64_t bootstrap, uint64_t seed);

}  // namespace fmtrain
