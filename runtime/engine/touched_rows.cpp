#include "runtime/engine/touched_rows.h"

#include <ATen/ATen.h>

#include "runtime/ledger.h"

namespace fmtrain {

TouchedRows::TouchedRows(const Table& table, int64_t last) : table_(table) {
  TORCH_CHECK(table.offset == 0 && last >= table.range().last, "a table of ", table.range().last, " elements in ", last);
  const Booking booking(Purpose::kGradients);
  behind_ = at::zeros({last - table.range().last});
}

void TouchedRows::put_row(int64_t row, const float* values) {
  TORCH_CHECK(rows_.empty() || rows_.back() < row, "row ", row, " behind row ", rows_.back());
  const Booking booking(Purpose::kGradients);
  if (rows_.size() == kBlock * blocks_.size()) blocks_.push_back(at::empty({static_cast<int64_t>(kBlock), table_.columns}));
  std::copy_n(values, table_.columns, row_at(rows_.size()));
  rows_.push_back(row);
}

void TouchedRows::put_behind(Range range, const float* values) {
  std::copy_n(values, range.numel(), behind_.data_ptr<float>() + range.first - table_.range().last);
}

const float* TouchedRows::read(Range range, float* room) const {
  std::fill_n(room, range.numel(), 0.0f);
  const auto copy = [&](Range from, const float* values) {
    const Range part{std::max(range.first, from.first), std::min(range.last, from.last)};
    if (part.first < part.last) std::copy_n(values + part.first - from.first, part.numel(), room + part.first - range.first);
  };
  auto row = std::lower_bound(rows_.begin(), rows_.end(), range.first / table_.columns);
  for (; row != rows_.end() && table_.row(*row).first < range.last; ++row) copy(table_.row(*row), row_at(static_cast<size_t>(row - rows_.begin())));
  copy({table_.range().last, last()}, behind_.const_data_ptr<float>());
  return room;
}

}  // namespace fmtrain
