// Which samples make up each update: pure arithmetic over lengths and target counts. No rank, no I/O (design: numerics 1).
#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "runtime/config/config.h"

namespace fmtrain {

/// Position -> id: a permutation of 0..size-1 that depends on (seed, epoch) only, computed for one position at a time.
/// A Feistel network over the next even power of two with Philox as round function, walking out-of-range values on
/// (Black & Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
int64_t order(uint64_t seed, int64_t epoch, int64_t size, int64_t position);

/// One update of the model.
struct Step {
  int64_t epoch = 0;
  std::vector<std::vector<int64_t>> leaves;  ///< V slots of sample ids; the last ones are empty in a short step
  int64_t samples = 0, tokens = 0;
  int64_t valid_targets = 0;                 ///< the divisor of the summed loss
};

class StepPlan {
 public:
  /// lengths and valid_targets are per sample and must outlive the plan. global is a multiple of micro.
  StepPlan(std::span<const int32_t> lengths, std::span<const int32_t> valid_targets, uint64_t seed, const BatchSection& batch, Order order);
  int64_t leaves() const { return batch_.global / batch_.micro; }
  int64_t steps_per_epoch() const;
  /// Update number `step`, counted from 0 over all epochs.
  Step step(int64_t step) const;
  /// Updates of a whole run: schedule.steps, or epochs rounded up to whole updates.
  int64_t total_steps(const ScheduleSection& schedule) const;

 private:
  int64_t size() const { return static_cast<int64_t>(lengths_.size()); }
  std::vector<int64_t> ids_random(int64_t epoch, int64_t first, int64_t last) const;
  std::vector<int64_t> ids_grouped(int64_t epoch, int64_t step_in_epoch) const;
  void sort_by_length(std::vector<int64_t>& ids) const;
  std::span<const int32_t> lengths_, valid_targets_;
  uint64_t seed_;
  BatchSection batch_;
  Order order_;
};

/// Throws ConfigError that names the largest fitting batch.micro when a step has fewer leaves than `ranks`.
void check_ranks(const BatchSection& batch, int ranks);

/// The leaves [first, second) that rank `rank` of `size` computes: the only place where ranks enter the computation.
std::pair<int64_t, int64_t> leaves_of(int rank, int size, int64_t leaves);

}  // namespace fmtrain
