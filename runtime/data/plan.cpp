#include "runtime/data/plan.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "models/ops/philox.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

/// Steps whose samples are sorted together by length_grouped.
constexpr int64_t kGroupedSteps = 50;

/// Keys of independent permutations drawn from one seed.
enum class Purpose : uint32_t { kSamples = 1, kStepsOfWindow = 2 };

/// A permutation of 0..size-1 keyed by (seed, purpose, tweak).
int64_t permute(uint64_t seed, Purpose purpose, uint64_t tweak, int64_t size, int64_t position) {
  const int half = (static_cast<int>(std::bit_width(static_cast<uint64_t>(size - 1))) + 1) / 2;  // bits of each half of the Feistel block
  const uint32_t mask = half >= 32 ? ~0u : (1u << half) - 1;
  const std::array<uint32_t, 2> key{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  auto value = static_cast<uint64_t>(position);
  do {
    auto left = static_cast<uint32_t>(value >> half), right = static_cast<uint32_t>(value) & mask;
    for (uint32_t round = 0; round < 6; ++round) {
      const auto bits = philox4x32({right, round | static_cast<uint32_t>(purpose) << 8, static_cast<uint32_t>(tweak), static_cast<uint32_t>(tweak >> 32)}, key);
      const uint32_t next = left ^ (bits[0] & mask);
      left = right;
      right = next;
    }
    value = static_cast<uint64_t>(left) << half | right;
  } while (value >= static_cast<uint64_t>(size));
  return static_cast<int64_t>(value);
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Deal ids, sorted by falling length, into leaves to and fro: equal counts, nearly equal tokens.
std::vector<std::vector<int64_t>> deal(const std::vector<int64_t>& ids, int64_t used, int64_t slots) {
  std::vector<std::vector<int64_t>> leaves(static_cast<size_t>(slots));
  for (int64_t i = 0; i < static_cast<int64_t>(ids.size()); ++i) {
    const int64_t lap = i / used, at = i % used;
    leaves[static_cast<size_t>(lap % 2 == 0 ? at : used - 1 - at)].push_back(ids[static_cast<size_t>(i)]);
  }
  return leaves;
}

}  // namespace

int64_t order(uint64_t seed, int64_t epoch, int64_t size, int64_t position) {
  return permute(seed, Purpose::kSamples, static_cast<uint64_t>(epoch), size, position);
}

StepPlan::StepPlan(std::span<const int32_t> lengths, std::span<const int32_t> valid_targets, uint64_t seed, const BatchSection& batch, Order order)
    : lengths_(lengths), valid_targets_(valid_targets), seed_(seed), batch_(batch), order_(order) {}

int64_t StepPlan::steps_per_epoch() const { return ceil_div(size(), batch_.global); }

int64_t StepPlan::total_steps(const ScheduleSection& schedule) const {
  if (schedule.steps) return *schedule.steps;
  return static_cast<int64_t>(std::ceil(schedule.epochs * static_cast<double>(steps_per_epoch()) - 1e-9));
}

void StepPlan::sort_by_length(std::vector<int64_t>& ids) const {
  std::sort(ids.begin(), ids.end(), [this](int64_t a, int64_t b) {
    const auto la = lengths_[static_cast<size_t>(a)], lb = lengths_[static_cast<size_t>(b)];
    return la != lb ? la > lb : a < b;
  });
}

std::vector<int64_t> StepPlan::ids_random(int64_t epoch, int64_t first, int64_t last) const {
  std::vector<int64_t> ids;
  for (int64_t p = first; p < std::min(last, size()); ++p) ids.push_back(order(seed_, epoch, size(), p));
  return ids;
}

std::vector<int64_t> StepPlan::ids_grouped(int64_t epoch, int64_t step) const {
  const int64_t window = step / kGroupedSteps, window_samples = kGroupedSteps * batch_.global;
  auto ids = ids_random(epoch, window * window_samples, (window + 1) * window_samples);
  sort_by_length(ids);
  const int64_t full = static_cast<int64_t>(ids.size()) / batch_.global;  // full steps of the window; the short one stays last
  int64_t slot = step % kGroupedSteps;
  const uint64_t tweak = static_cast<uint64_t>(epoch) << 32 | static_cast<uint64_t>(window);
  if (slot < full && full > 1) slot = permute(seed_, Purpose::kStepsOfWindow, tweak, full, slot);
  const auto end = std::min(static_cast<int64_t>(ids.size()), (slot + 1) * batch_.global);
  return {ids.begin() + slot * batch_.global, ids.begin() + end};
}

Step StepPlan::step(int64_t step) const {
  const int64_t epoch = step / steps_per_epoch(), s = step % steps_per_epoch();
  auto ids = order_ == Order::kRandom ? ids_random(epoch, s * batch_.global, (s + 1) * batch_.global) : ids_grouped(epoch, s);
  sort_by_length(ids);
  Step result;
  result.epoch = epoch;
  result.samples = static_cast<int64_t>(ids.size());
  for (const auto id : ids) {
    result.tokens += lengths_[static_cast<size_t>(id)];
    result.valid_targets += valid_targets_[static_cast<size_t>(id)];
  }
  result.leaves = deal(ids, ceil_div(result.samples, batch_.micro), leaves());
  return result;
}

void check_ranks(const BatchSection& batch, int ranks) {
  const int64_t leaves = batch.global / batch.micro;
  if (ranks <= leaves) return;
  const std::string problem = std::to_string(ranks) + " ranks need at least as many leaves, but batch.global / batch.micro is " + std::to_string(leaves);
  if (batch.global < ranks) throw ConfigError("batch.global: " + problem + "; it must be at least " + std::to_string(ranks));
  int64_t micro = batch.global / ranks;
  while (batch.global % micro != 0) --micro;
  throw ConfigError("batch.micro: " + problem + "; the largest micro that fits is " + std::to_string(micro));
}

std::pair<int64_t, int64_t> leaves_of(int rank, int size, int64_t leaves) {
  return {rank * leaves / size, (rank + int64_t{1}) * leaves / size};
}

}  // namespace fmtrain
