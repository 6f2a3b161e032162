#include "runtime/engine/shard_plan.h"

#include <algorithm>

namespace fmtrain {
namespace {

constexpr int64_t kBucketBlocks = 1024;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

ShardPlan::ShardPlan(int64_t numel, int world) : numel_(numel), world_(world) {
  full_piece_ = std::max<int64_t>(1, kBucketBlocks / world_) * kNormBlock;
  const int64_t bucket = full_piece_ * world_;
  buckets_ = static_cast<size_t>(ceil_div(numel, bucket));
  if (buckets_ == 0) return;
  const int64_t rest = numel - static_cast<int64_t>(buckets_ - 1) * bucket;
  last_piece_ = ceil_div(ceil_div(rest, kNormBlock), world_) * kNormBlock;
}

Range ShardPlan::bucket(size_t b) const {
  const int64_t first = static_cast<int64_t>(b) * full_piece_ * world_;
  return {first, first + piece_numel(b) * world_};
}

Range ShardPlan::piece(size_t b, int rank) const {
  const int64_t first = bucket(b).first + rank * piece_numel(b);
  return {first, first + piece_numel(b)};
}

Range ShardPlan::owned(size_t b, int rank) const {
  const Range r = piece(b, rank);
  return {std::min(r.first, numel_), std::min(r.last, numel_)};
}

std::vector<Range> ShardPlan::owned(int rank) const {
  std::vector<Range> ranges;
  for (size_t b = 0; b < buckets_; ++b) ranges.push_back(owned(b, rank));
  return ranges;
}

}  // namespace fmtrain
