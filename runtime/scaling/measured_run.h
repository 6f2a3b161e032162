// What one run of the program wrote of its own speed, without the updates in which it warmed up.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace fmtrain {

/// Parts of the time of an update. The first five add up to it; waiting is a part of communication.
inline constexpr std::array<const char*, 6> kStepParts{"compute", "communication", "data", "optimizer", "other", "waiting"};

struct MeasuredRun {
  int ranks = 1, hosts = 1, threads = 1;
  int64_t global = 0;               ///< samples of an update
  int repetition = 0;               ///< counted from 1
  std::string device, weights;      ///< weights: their hash at the end
  std::vector<std::string> losses;  ///< of every update, warm-up included: each as the text of its bits
  int64_t updates = 0;              ///< measured
  double seconds = 0;               ///< of these
  double samples = 0, tokens = 0;   ///< real ones, of these
  std::array<double, 6> parts{};    ///< seconds an update, as kStepParts, on rank 0
  double product_share = 0;  ///< rate of useful work over that of the model's products alone on all ranks; 0: not measured
  double slowest = 1;        ///< compute seconds of the slowest rank over their mean, over the whole run
  double rss = 0, peak_rss = 0, pss = 0;  ///< bytes of the rank that has most
  double pss_sum = 0;                     ///< bytes of all ranks together

  double step_seconds() const { return seconds / static_cast<double>(updates); }
  double samples_per_second() const { return samples / seconds; }
  double tokens_per_second() const { return tokens / seconds; }
};

/// From log.jsonl and report.json of a run directory, without the first `warmup` updates. Throws DataError where they lack
/// something, or where no update is left.
MeasuredRun read_run(const std::string& dir, int64_t warmup);

}  // namespace fmtrain
