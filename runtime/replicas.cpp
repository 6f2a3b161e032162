#include "runtime/replicas.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>

#include "comm/gather.h"
#include "runtime/errors.h"
#include "runtime/hash.h"

namespace fmtrain {
namespace {

constexpr size_t kHashBytes = 32, kRow = kHashBytes + 64;  ///< hexadecimal hash, then the host's name

std::string hash_of_parameters(const std::vector<NamedParameter>& parameters) {
  const at::NoGradGuard no_grad;
  std::string hashes;
  for (const auto& p : parameters) {
    const auto bytes = p.value.detach().cpu().contiguous();
    hashes += xxh3_hex(bytes.const_data_ptr(), bytes.nbytes());
  }
  return xxh3_hex(hashes.data(), hashes.size());
}

}  // namespace

void check_replicas(const std::vector<NamedParameter>& parameters, Communicator& comm, const std::string& host) {
  if (comm.size() == 1) return;
  const auto rows = gather_rows(comm, hash_of_parameters(parameters) + host, kRow);
  std::map<std::string, std::vector<std::string>> groups;  // the ranks of each hash
  for (size_t r = 0; r < rows.size(); ++r)
    groups[rows[r].substr(0, kHashBytes)].push_back("rank " + std::to_string(r) + " on " + (rows[r].c_str() + kHashBytes));
  if (groups.size() == 1) return;
  size_t largest = 0, of_that_size = 0;
  for (const auto& [hash, ranks] : groups) largest = std::max(largest, ranks.size());
  for (const auto& [hash, ranks] : groups) of_that_size += ranks.size() == largest;
  std::string odd;
  for (const auto& [hash, ranks] : groups)
    if (ranks.size() < largest || of_that_size > 1)
      for (const auto& rank : ranks) odd += (odd.empty() ? "" : ", ") + rank;
  throw NumericError("the parameters are not the same on all ranks; different: " + odd +
                     ". Memory or a processor may be broken there; start again without that host: the run continues from the last checkpoint");
}

}  // namespace fmtrain
