// The reduced gradient of the word table where it is read once by the update: the rows that a step touches, and nothing for the others.
// A dense one takes 4 bytes of every row, of which a step of fine-tuning touches a hundredth.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "runtime/engine/gradient_piece.h"
#include "runtime/engine/row_set.h"

namespace fmtrain {

class TouchedRows final : public GradientSource {
 public:
  /// Of the elements of the layout below `last`, which is at or behind the end of the table; the table comes first there.
  TouchedRows(const Table& table, int64_t last);
  /// A new step: +0.0 in every row. What lies behind the table stays.
  void clear() { rows_.clear(); }
  /// values: [columns]. Rows in ascending order, each at most once a step. Memory grows to the most rows of a step, and stays.
  void put_row(int64_t row, const float* values);
  /// Behind the table.
  void put_behind(Range range, const float* values);
  int64_t last() const { return table_.range().last + behind_.numel(); }
  const float* read(Range range, float* room) const override;

 private:
  float* row_at(size_t i) const { return blocks_[i / kBlock].data_ptr<float>() + static_cast<int64_t>(i % kBlock) * table_.columns; }

  static constexpr size_t kBlock = 256;  ///< rows
  Table table_;
  std::vector<int64_t> rows_;        ///< ascending
  std::vector<at::Tensor> blocks_;   ///< fp32 [kBlock, columns]: their values, in this order
  at::Tensor behind_;                ///< fp32
};

}  // namespace fmtrain
