// The gradient of the word table, of which a step touches few rows: the others are zero on every rank, so they are neither cleared,
// nor sent, nor squared. All bits are those of a dense gradient: x + 0 = x.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "comm/communicator.h"
#include "runtime/engine/flat_params.h"
#include "runtime/engine/row_set.h"

namespace fmtrain {

/// The word embeddings, if they are in the layout.
std::optional<Table> table_of(const FlatLayout& layout);

/// One leaf's gradient of the table as it came, dense or not, by rows.
class StreamedRows {
 public:
  /// gradient: of the table, or undefined for none.
  StreamedRows(const Table& table, const at::Tensor& gradient);
  const RowSet& rows() const { return rows_; }
  const float* values(int64_t row) const;

 private:
  int64_t columns_;
  RowSet rows_;
  bool dense_ = false;
  std::vector<int64_t> order_;
  at::Tensor values_;
};

class TableExchange {
 public:
  /// Collective. CPU memory of the communicator: about 1 MiB, and a bit for each row and rank.
  TableExchange(Communicator& comm, const Table& table, ReduceOp op);
  /// This rank's part of one sum. A rank without a leaf adds -0 (x + -0 = x also where x is -0), another one +0 to rows it has not.
  struct Mine {
    const RowSet& rows;
    bool no_leaf;
    std::function<const float*(int64_t row)> values;  ///< [columns]
  };
  /// Collective: put(row, values) receives the sums over ranks of all rows that some rank has, ascending. Returns these rows.
  const RowSet& reduce(const Mine& mine, const std::function<void(int64_t row, const float* values)>& put);

 private:
  void unite(const RowSet& mine);

  Communicator& comm_;
  Table table_;
  ReduceOp op_;
  at::Tensor bits_;  ///< int64 [ranks, words of a set]
  at::Tensor rows_;  ///< fp32 [rows exchanged at a time, columns]
  RowSet touched_;
};

}  // namespace fmtrain
