// Which rank owns which elements of the flat layout, for the ZeRO stages 1 to 3 (Rajbhandari et al., "ZeRO: memory optimizations
// toward training trillion parameter models", SC 2020). Arithmetic only: no memory, no communication.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fmtrain {

/// Elements of the fixed blocks of the flat layout over which the squares of the gradient are summed in fp64. Shards begin and
/// end at blocks, so the sums, and with them the norm, do not depend on the number of ranks.
inline constexpr int64_t kNormBlock = 4096;

/// Elements [first, last).
struct Range {
  int64_t first = 0, last = 0;
  int64_t numel() const { return last - first; }
};

/// Elements of a bucket: 4 Mi (16 MiB of gradients), which a network wants, and in stages 2 and 3 for small models less: there two of
/// them are held beside the rank's share, and together should be no more than a 32nd of the layout.
int64_t bucket_numel(int stage, int64_t numel);

/// The layout is cut into buckets of about `bucket` elements, each bucket into one piece a rank, all of the same
/// length. So every bucket can be reduced by itself, by all ranks alike. A rank's shard is its pieces in order. `cut`: an element at
/// which, or at most `world` norm blocks behind which, a bucket begins: what lies on both sides is reduced in different ways.
class ShardPlan {
 public:
  /// numel >= 0 elements, world >= 1 ranks, 0 <= cut <= numel.
  ShardPlan(int64_t numel, int world, int64_t cut = 0, int64_t bucket = bucket_numel(0, 0));
  /// Elements of a buffer that has room for all pieces: at most `world` blocks more than numel.
  int64_t padded() const { return firsts_.back(); }
  size_t buckets() const { return firsts_.size() - 1; }
  /// Of a padded buffer.
  Range bucket(size_t b) const { return {firsts_[b], firsts_[b + 1]}; }
  Range piece(size_t b, int rank) const;
  /// What of the piece holds elements of the layout; may be empty.
  Range owned(size_t b, int rank) const;
  /// Of every bucket, in order.
  std::vector<Range> owned(int rank) const;
  /// What of it falls to one of `copies` ranks that own the same, where one of them is enough: cut at norm blocks.
  Range share(size_t b, int rank, int copy, int copies) const;
  /// Elements of a rank's shard, padding included; the same for every rank.
  int64_t shard_numel() const { return padded() / world_; }
  /// Where the piece of bucket b begins in the shard.
  int64_t shard_offset(size_t b) const { return firsts_[b] / world_; }

 private:
  void add_buckets(int64_t last, int64_t bucket);
  int64_t numel_, world_;
  std::vector<int64_t> firsts_{0};  ///< of each bucket, and the end of the last: multiples of world norm blocks
};

}  // namespace fmtrain
