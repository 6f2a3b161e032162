#include "runtime/watch/agreement.h"

#include <ATen/ATen.h>

#include "runtime/errors.h"
#include "runtime/hash.h"
#include "runtime/program_id.h"

namespace fmtrain {
namespace {

int64_t short_hash(const std::string& hex_digits) { return static_cast<int64_t>(std::stoull(hex_digits.substr(0, 16), nullptr, 16)); }

}  // namespace

void check_agreement(Communicator& comm, const std::string& config) {
  if (comm.size() == 1) return;
  auto mine = at::empty({2}, at::kLong), all = at::empty({2 * comm.size()}, at::kLong);
  mine.data_ptr<int64_t>()[0] = short_hash(sha256_hex(config.data(), config.size()));
  mine.data_ptr<int64_t>()[1] = short_hash(program_id());
  comm.all_gather(all, mine).wait();
  const int64_t* of = all.data_ptr<int64_t>();
  constexpr int kShown = 8;
  std::string table;
  int differ = 0;
  for (int r = 1; r < comm.size(); ++r) {
    const bool config_differs = of[2 * r] != of[0], program_differs = of[2 * r + 1] != of[1];
    if (!(config_differs || program_differs) || ++differ > kShown) continue;
    table += "\n  rank " + std::to_string(r) + ": another " + (config_differs ? (program_differs ? "config and program" : "config") : "program");
  }
  if (differ) throw ConfigError(std::to_string(differ) + " of " + std::to_string(comm.size()) +
                                " ranks differ from rank 0: start all ranks with the same program, config file and --set values" + table);
}

}  // namespace fmtrain
