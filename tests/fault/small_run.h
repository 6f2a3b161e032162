// Checkpoints of a state of a few KiB, saved by two ranks on any file system, and what a start finds there.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/checkpoint/state_dict.h"
#include "tests/support/broken_writers.h"
#include "tests/support/power_loss.h"

namespace fmtrain {

inline const std::string kDir = "/checkpoints";
inline constexpr int kRanks = 2;
inline const Json kFixedPart{{"config", "abc"}, {"config_lines", {"lr=1", "seed=2"}}, {"data", "d"}};

/// FMTRAIN_FAULT_SCALE, how many times the usual number of random trials; 1 when it is not set.
int64_t fault_scale();

/// Parameters "param/w", moments "exp_avg/w" and "exp_avg_sq/w" of `elements` (a multiple of kRanks) at a step: this rank's share,
/// or with size 1 all. Every step has other values everywhere.
StateDict state_of(int64_t step, int64_t elements, int rank, int size);
Json small_of(int64_t step);

/// One start of a run of two ranks that saves these steps. The result of each save, with disk.changes() when it came.
struct Saved {
  size_t changes = 0;
  int64_t step = 0;
  bool ok = false;
};
struct Plan {
  std::vector<int64_t> steps;
  int64_t keep = 1;
  int64_t elements = 1024;
  bool resume = false;  ///< goes on from the newest checkpoint first
};
std::vector<Saved> save_all(FileOps& files, const std::string& dir, const Plan& plan, const PowerLoss* disk = nullptr);

/// The newest step that a start of one rank loads, all of it compared with state_of(); -1: none. Throws what load_newest throws,
/// std::logic_error when the values are not those that were saved.
int64_t start(FileOps& files, const std::string& dir, int64_t elements);

/// What a start finds on a disk with "/checkpoints".
struct Finding {
  int64_t newest = -1;     ///< step loaded; -1: none verified
  int64_t verified = 0;    ///< checkpoints that pass their check
  std::set<int64_t> torn;  ///< steps that are visible and do not
  bool wrong = false;      ///< something verified that is not what was saved
  bool leftovers = false;  ///< after the start
};

class Examiner {
 public:
  explicit Examiner(int64_t elements = Plan().elements) : elements_(elements) {}
  const Finding& examine(const Disk& disk);
  size_t different_disks() const { return known_.size(); }

 private:
  Finding look(const Disk& disk);
  const std::map<std::string, std::string>& right_files(int64_t step);
  int64_t elements_;
  std::unordered_map<std::string, Finding> known_;  ///< by the hash of all that the disk shows
  std::map<int64_t, std::map<std::string, std::string>> right_;
};

/// A disk with an empty "/checkpoints", all synced.
Disk empty_disk();

}  // namespace fmtrain
