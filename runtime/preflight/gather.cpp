#include "runtime/preflight/gather.h"

#include <ATen/ATen.h>

#include <cstring>

#include "comm/gather.h"
#include "runtime/checkpoint/save.h"

namespace fmtrain {
namespace {

constexpr JsonLimits kLimits{64u << 20, 32};

}  // namespace

std::vector<Json> gather_json(Communicator& comm, const Json& mine) {
  const std::string text = mine.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  const auto width = static_cast<size_t>(largest(comm, static_cast<int64_t>(text.size())));
  std::vector<Json> all;
  for (const auto& row : gather_rows(comm, text, width)) all.push_back(parse_json(row.c_str(), kLimits));
  return all;
}

Json rank_zeros(Communicator& comm, const Json& mine) {
  const std::string text = comm.rank() == 0 ? mine.dump(-1, ' ', true, Json::error_handler_t::replace) : "";
  auto bytes = at::zeros({largest(comm, static_cast<int64_t>(text.size()))}, at::kByte);
  std::memcpy(bytes.data_ptr(), text.data(), text.size());
  comm.broadcast(bytes, 0).wait();
  return parse_json({static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes()}, kLimits);
}

}  // namespace fmtrain
