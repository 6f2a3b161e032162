#include "runtime/engine/shard_plan.h"

#include <algorithm>

namespace fmtrain {
namespace {

constexpr int64_t kLeastBucket = 256 << 10, kBucket = 4 << 20;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

int64_t bucket_numel(int stage, int64_t numel) { return stage < 2 ? kBucket : std::clamp(numel / 64, kLeastBucket, kBucket); }

ShardPlan::ShardPlan(int64_t numel, int world, int64_t cut, int64_t bucket) : numel_(numel), world_(world) {
  add_buckets(cut, bucket);
  add_buckets(numel, bucket);
}

void ShardPlan::add_buckets(int64_t last, int64_t bucket) {
  const int64_t block = kNormBlock * world_, full = std::max<int64_t>(1, bucket / block) * block;
  const int64_t end = ceil_div(last, block) * block;
  while (firsts_.back() < end) firsts_.push_back(std::min(end, firsts_.back() + full));
}

Range ShardPlan::piece(size_t b, int rank) const {
  const int64_t numel = bucket(b).numel() / world_, first = bucket(b).first + rank * numel;
  return {first, first + numel};
}

Range ShardPlan::owned(size_t b, int rank) const {
  const Range r = piece(b, rank);
  return {std::min(r.first, numel_), std::min(r.last, numel_)};
}

Range ShardPlan::share(size_t b, int rank, int copy, int copies) const {
  const Range r = owned(b, rank);
  const int64_t blocks = ceil_div(r.numel(), kNormBlock);
  const auto at = [&](int64_t part) { return std::min(r.last, r.first + part * blocks / copies * kNormBlock); };
  return {at(copy), at(copy + 1)};
}

std::vector<Range> ShardPlan::owned(int rank) const {
  std::vector<Range> ranges;
  for (size_t b = 0; b < buckets(); ++b) ranges.push_back(owned(b, rank));
  return ranges;
}

}  // namespace fmtrain
