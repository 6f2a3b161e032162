#include "runtime/engine/touched_rows.h"

#include <gtest/gtest.h>
#include <ATen/ATen.h>

#include <cstring>

#include "runtime/ledger.h"

namespace fmtrain {
namespace {

constexpr Table kTable{0, 0, 1000, 10};
constexpr int64_t kLast = 10'500;

/// All of it, read in pieces of n elements.
at::Tensor read_all(const TouchedRows& rows, int64_t n) {
  const auto all = at::full({kLast}, 9.0f);
  std::vector<float> room(static_cast<size_t>(n));
  for (int64_t i = 0; i < kLast; i += n) {
    const int64_t count = std::min(n, kLast - i);
    std::copy_n(rows.read({i, i + count}, room.data()), count, all.data_ptr<float>() + i);
  }
  return all;
}

TEST(TouchedRows, AreADenseGradientWhereverTheyAreRead) {
  TouchedRows rows(kTable, kLast);
  EXPECT_EQ(rows.last(), kLast);
  for (const int step : {0, 1}) {  // nothing is left over from the step before
    const auto dense = at::zeros({kLast}), values = at::randn({1000, 10});
    rows.clear();
    for (int64_t row = step; row < 1000; row += row % 3 + 1) {  // more than a block of them
      rows.put_row(row, values[row].const_data_ptr<float>());
      dense.narrow(0, kTable.row(row).first, 10).copy_(values[row]);
    }
    const auto behind = at::randn({400});
    rows.put_behind({kTable.range().last + 50, kTable.range().last + 450}, behind.const_data_ptr<float>());
    dense.narrow(0, kTable.range().last + 50, 400).copy_(behind);
    for (const int64_t n : {1, 7, 10, 1024, 10'500})
      EXPECT_EQ(std::memcmp(read_all(rows, n).const_data_ptr(), dense.const_data_ptr(), dense.nbytes()), 0) << n;
  }
}

TEST(TouchedRows, TakeMemoryForTheRowsThatAStepHas) {
  start_ledger();
  const auto now = [] { return ledger()[static_cast<size_t>(Purpose::kGradients)].now; };
  const int64_t before = now();
  TouchedRows rows(kTable, kTable.range().last);
  const auto value = at::ones({10});
  for (int step = 0; step < 3; ++step) {
    rows.clear();
    for (int64_t row = 0; row < 300; ++row) rows.put_row(row, value.const_data_ptr<float>());
  }
  EXPECT_LE(now() - before, 512 * 10 * 4 + 1024);
}

TEST(TouchedRows, RefuseRowsOutOfOrder) {
  TouchedRows rows(kTable, kLast);
  const auto value = at::ones({10});
  rows.put_row(5, value.const_data_ptr<float>());
  EXPECT_THROW(rows.put_row(5, value.const_data_ptr<float>()), c10::Error);
  EXPECT_THROW(TouchedRows(Table{0, 10, 1000, 10}, kLast + 10), c10::Error);  // something before the table
  EXPECT_THROW(TouchedRows(kTable, 9'999), c10::Error);
}

}  // namespace
}  // namespace fmtrain
