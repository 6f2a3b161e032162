// Which rows of a table, one bit a row, and what is known of the gradient of the others.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/engine/shard_plan.h"

namespace fmtrain {

class RowSet {
 public:
  RowSet() = default;
  /// None of `rows` rows.
  explicit RowSet(int64_t rows);
  int64_t rows() const { return rows_; }
  void insert(int64_t row) { words_[static_cast<size_t>(row / 64)] |= uint64_t{1} << (row % 64); }
  void insert_all();
  void clear();
  /// All rows of a set over the same table as well.
  void unite(const RowSet& other) { unite(other.words_.data()); }
  void unite(const uint64_t* words);
  bool has(int64_t row) const { return words_[static_cast<size_t>(row / 64)] >> (row % 64) & 1; }
  /// One of the rows [first, last), 0 <= first, last <= rows().
  bool has_any(int64_t first, int64_t last) const;
  /// Ascending.
  std::vector<int64_t> list() const;
  /// Row r is bit r % 64 of word r / 64; bits beyond the last row are 0.
  const std::vector<uint64_t>& words() const { return words_; }

 private:
  int64_t rows_ = 0;
  std::vector<uint64_t> words_;
};

/// A tensor of the layout whose gradient is zero but for the rows that a step's tokens name.
struct Table {
  size_t tensor = 0;
  int64_t offset = 0, rows = 0, columns = 0;  ///< elements; rows lie one after the other
  Range range() const { return {offset, offset + rows * columns}; }
  Range row(int64_t r) const { return {offset + r * columns, offset + (r + 1) * columns}; }
};

/// Where a gradient is known to be +0: the rows of `table` that are not in `touched`. Default: nowhere.
struct QuietRows {
  Table table;
  const RowSet* touched = nullptr;
  const RowSet* awake = nullptr;  ///< rows whose moments may not be +0, for they had a gradient once; nullptr: perhaps all
  /// All elements of a range of the layout, which may have any ends.
  bool cover(Range range) const;
};

}  // namespace fmtrain
