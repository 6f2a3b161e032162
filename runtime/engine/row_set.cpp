#include "runtime/engine/row_set.h"

#include <algorithm>
#include <bit>

namespace fmtrain {

RowSet::RowSet(int64_t rows) : rows_(rows), words_(static_cast<size_t>((rows + 63) / 64), 0) {}

void RowSet::insert_all() {
  std::fill(words_.begin(), words_.end(), ~uint64_t{0});
  if (rows_ % 64 != 0) words_.back() = (uint64_t{1} << (rows_ % 64)) - 1;
}

void RowSet::clear() { std::fill(words_.begin(), words_.end(), 0); }

void RowSet::unite(const uint64_t* words) {
  for (size_t i = 0; i < words_.size(); ++i) words_[i] |= words[i];
}

bool RowSet::has_any(int64_t first, int64_t last) const {
  for (int64_t row = first; row < last; row = (row / 64 + 1) * 64) {
    uint64_t word = words_[static_cast<size_t>(row / 64)] >> (row % 64);
    if (const int64_t wanted = last - row; wanted < 64) word &= (uint64_t{1} << wanted) - 1;
    if (word != 0) return true;
  }
  return false;
}

std::vector<int64_t> RowSet::list() const {
  std::vector<int64_t> rows;
  for (size_t i = 0; i < words_.size(); ++i)
    for (uint64_t word = words_[i]; word != 0; word &= word - 1) rows.push_back(static_cast<int64_t>(i) * 64 + std::countr_zero(word));
  return rows;
}

bool QuietRows::cover(Range range) const {
  const Range all = table.range();
  if (!touched || range.first < all.first || range.last > all.last || range.first >= range.last) return false;
  return !touched->has_any((range.first - all.first) / table.columns, (range.last - 1 - all.first) / table.columns + 1);
}

}  // namespace fmtrain
