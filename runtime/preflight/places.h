// Where the ranks are, and whether that is a good place: arithmetic on what every rank says of itself.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/preflight/row.h"

namespace fmtrain {

/// What a rank says of its own place.
struct RankPlace {
  int rank = 0, local_rank = 0;
  std::string host{};
  int gpu = -1;            ///< index among those it sees; -1: it works on the CPU
  std::string uuid{};      ///< of the GPU
  int threads = 1;
  std::vector<int> cores{};  ///< it may run on, ascending; empty: unknown
  int64_t shm_free = -1;   ///< bytes of its host's /dev/shm; -1: unknown
};

/// "cpu" or "cuda:N".
std::string device_of(const RankPlace& place);

Json place_json(const RankPlace& place);
RankPlace place_from_json(const Json& json);

/// Of ascending numbers, as Linux lists CPUs: "0-3,8".
std::string ranges_text(const std::vector<int>& numbers);

/// Hosts in the order of their first rank, and the first rank of each (its leader). A host is a name here.
std::vector<std::string> hosts_of(const std::vector<RankPlace>& places);
std::vector<int> leaders_of(const std::vector<RankPlace>& places);

/// Fails (2) where the launcher started more processes (`launched`; 0: it does not say) than MPI has ranks: as many worlds of
/// one.
Row judge_launcher(int launched, int ranks, int hosts);

/// Warns where the threads of a host's ranks are more than the cores that they may use together, a rank's more than its own, or
/// two ranks have one and the same single core; names the option that helps.
Row judge_placement(const std::vector<RankPlace>& places);

/// `fault`: of check_placements() in launch/device.h or of the choice of a GPU, "" if none (2).
Row judge_devices(const std::vector<RankPlace>& places, const std::string& fault);

/// Fails (2) where `needed` bytes, of all ranks of a host together, are more than its /dev/shm has free. needed 0: not known.
Row judge_shared_memory(const std::vector<RankPlace>& places, int64_t needed_by_rank, int64_t needed_once);

}  // namespace fmtrain
