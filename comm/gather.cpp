#include "comm/gather.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

namespace fmtrain {

std::vector<std::string> gather_rows(Communicator& comm, const std::string& mine, size_t bytes) {
  const auto width = static_cast<int64_t>(bytes);
  auto own = at::zeros({width}, at::kByte), all = at::zeros({width * comm.size()}, at::kByte);
  std::memcpy(own.data_ptr(), mine.data(), std::min(mine.size(), bytes));
  comm.all_gather(all, own).wait();
  std::vector<std::string> rows;
  for (int rank = 0; rank < comm.size(); ++rank)
    rows.emplace_back(static_cast<const char*>(all.const_data_ptr()) + static_cast<size_t>(rank) * bytes, bytes);
  return rows;
}

}  // namespace fmtrain
