#include "runtime/engine/table_exchange.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "runtime/ledger.h"

namespace fmtrain {
namespace {

/// Elements that are exchanged at a time: they stay in cache between packing, adding and unpacking, and bound the memory when a step
/// touches all rows.
constexpr int64_t kPiece = 1 << 18;

}  // namespace

std::optional<Table> table_of(const FlatLayout& layout) {
  for (size_t t = 0; t < layout.tensors.size(); ++t) {
    const auto& tensor = layout.tensors[t];
    if (tensor.shape.size() == 2 && tensor.name.ends_with("word_embeddings.weight")) return Table{t, tensor.offset, tensor.shape[0], tensor.shape[1]};
  }
  return {};
}

StreamedRows::StreamedRows(const Table& table, const at::Tensor& gradient) : columns_(table.columns), rows_(table.rows) {
  if (!gradient.defined()) return;
  const auto full = gradient.to(at::kFloat);
  dense_ = !full.is_sparse();
  const auto list = dense_ ? at::Tensor() : full.coalesce();  // sorted by row
  values_ = dense_ ? full.contiguous() : list.values() + 0.0;  // +0 where it is -0, as in a sum that begins with +0
  if (dense_) {
    rows_.insert_all();
    return;
  }
  const auto indices = list.indices()[0].contiguous();
  order_.assign(indices.const_data_ptr<int64_t>(), indices.const_data_ptr<int64_t>() + indices.numel());
  for (const int64_t row : order_) rows_.insert(row);
}

const float* StreamedRows::values(int64_t row) const {
  const int64_t at = dense_ ? row : std::lower_bound(order_.begin(), order_.end(), row) - order_.begin();
  return values_.const_data_ptr<float>() + at * columns_;
}

TableExchange::TableExchange(Communicator& comm, const Table& table, ReduceOp op)
    : comm_(comm), table_(table), op_(op), touched_(table.rows) {
  const auto words = static_cast<int64_t>(touched_.words().size()), most = std::min(table.rows, std::max<int64_t>(1, kPiece / table.columns));
  bits_ = booked(comm.allocate(comm.size() * words, at::kLong), Purpose::kGradients).view({comm.size(), words});
  rows_ = booked(comm.allocate(most * table.columns, at::kFloat), Purpose::kGradients).view({most, table.columns});
}

void TableExchange::unite(const RowSet& mine) {
  const auto own = bits_[comm_.rank()];
  std::memcpy(own.data_ptr(), mine.words().data(), own.nbytes());
  comm_.all_gather(bits_.view({-1}), own).wait();
  touched_.clear();
  for (int rank = 0; rank < comm_.size(); ++rank) touched_.unite(static_cast<const uint64_t*>(bits_[rank].const_data_ptr()));
}

const RowSet& TableExchange::reduce(const Mine& mine, const std::function<void(int64_t row, const float* values)>& put) {
  unite(mine.rows);
  const auto rows = touched_.list();
  const auto most = static_cast<size_t>(rows_.size(0));
  const auto columns = static_cast<size_t>(table_.columns);
  auto* memory = rows_.data_ptr<float>();
  for (size_t first = 0; first < rows.size(); first += most) {
    const size_t n = std::min(most, rows.size() - first);
    for (size_t i = 0; i < n; ++i) {
      const int64_t row = rows[first + i];
      float* to = memory + i * columns;
      if (mine.rows.has_any(row, row + 1)) std::memcpy(to, mine.values(row), columns * sizeof(float));
      else std::fill_n(to, columns, mine.no_leaf ? -0.0f : 0.0f);
    }
    comm_.all_reduce(rows_.narrow(0, 0, static_cast<int64_t>(n)).view({-1}), op_).wait();
    for (size_t i = 0; i < n; ++i) put(rows[first + i], memory + i * columns);
  }
  return touched_;
}

}  // namespace fmtrain
