#include "runtime/engine/shard_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace fmtrain {
namespace {

const int64_t kSizes[] = {0, 16, kNormBlock, 49'264, 5'000'000, 22'713'216, 4 * 1024 * kNormBlock};

TEST(ShardPlan, PiecesTileThePaddedLayoutAtBlocks) {
  for (const int64_t numel : kSizes)
    for (const int world : {1, 2, 3, 4, 5, 8, 48, 1500}) {
      const ShardPlan plan(numel, world);
      int64_t next = 0, shard = 0;
      for (size_t b = 0; b < plan.buckets(); ++b) {
        EXPECT_EQ(plan.bucket(b).first, next);
        EXPECT_EQ(plan.shard_offset(b), shard);
        shard += plan.piece(b, 0).numel();
        for (int rank = 0; rank < world; ++rank) {
          EXPECT_EQ(plan.piece(b, rank).first, next);
          EXPECT_EQ(plan.piece(b, rank).numel(), plan.piece(b, 0).numel());
          EXPECT_EQ(next % kNormBlock, 0);
          next = plan.piece(b, rank).last;
        }
        EXPECT_EQ(plan.bucket(b).last, next);
      }
      EXPECT_EQ(plan.padded(), next);
      EXPECT_EQ(plan.shard_numel(), shard);
      EXPECT_GE(next, numel);
      EXPECT_LT(next - numel, world * kNormBlock + kNormBlock) << numel << " on " << world;
    }
}

TEST(ShardPlan, CopiesShareOutWhatIsDoneOnce) {
  for (const int64_t numel : kSizes)
    for (const int copies : {1, 2, 3, 8, 2000}) {
      const ShardPlan plan(numel, 4);
      for (size_t b = 0; b < plan.buckets(); ++b)
        for (int rank = 0; rank < 4; ++rank) {
          const Range owned = plan.owned(b, rank);
          int64_t next = owned.first, most = 0;
          for (int copy = 0; copy < copies; ++copy) {
            const Range share = plan.share(b, rank, copy, copies);
            EXPECT_EQ(share.first, next);
            EXPECT_TRUE(share.numel() == 0 || share.first % kNormBlock == 0);
            next = share.last;
            most = std::max(most, share.numel());
          }
          EXPECT_EQ(next, owned.last);
          EXPECT_LE(most, owned.numel() / copies + kNormBlock);
        }
    }
}

TEST(ShardPlan, ABucketBeginsBehindTheCut) {
  constexpr int64_t kNumel = 22'713'216, kCut = 11'720'448;
  for (const int world : {1, 2, 3, 4, 5, 8, 48, 1500}) {
    const ShardPlan plain(kNumel, world), plan(kNumel, world, kCut);
    bool begins = false;
    int64_t next = 0, shard = 0;
    for (size_t b = 0; b < plan.buckets(); ++b) {
      const Range bucket = plan.bucket(b);
      begins |= bucket.first >= kCut && bucket.first < kCut + world * kNormBlock;
      EXPECT_EQ(bucket.first, next);
      EXPECT_EQ(plan.shard_offset(b), shard);
      EXPECT_LE(bucket.numel(), plain.bucket(0).numel());
      for (int rank = 0; rank < world; ++rank) {
        EXPECT_EQ(plan.piece(b, rank).first, next);
        next = plan.piece(b, rank).last;
      }
      shard += plan.piece(b, 0).numel();
    }
    EXPECT_TRUE(begins) << world;
    EXPECT_EQ(plan.shard_numel(), shard);
    EXPECT_EQ(plan.padded(), plain.padded());
    EXPECT_EQ(plan.padded(), next);
  }
  const ShardPlan whole(100, 2, 100);  // the cut at the end
  EXPECT_EQ(whole.buckets(), 1u);
}

TEST(ShardPlan, EveryElementIsOwnedOnce) {
  for (const int64_t numel : kSizes)
    for (const int world : {1, 2, 3, 4, 5, 8, 48, 1500}) {
      const ShardPlan plan(numel, world);
      int64_t next = 0;
      for (size_t b = 0; b < plan.buckets(); ++b)
        for (int rank = 0; rank < world; ++rank) {
          const Range owned = plan.owned(b, rank);
          if (owned.numel() == 0) continue;
          EXPECT_EQ(owned.first, next);
          next = owned.last;
        }
      EXPECT_EQ(next, numel);
    }
}

TEST(ShardPlan, ShardsOfLargeModelsAreEvenWithinThreePercent) {
  for (const int world : {2, 3, 4, 8, 16, 64}) {
    const ShardPlan plan(22'713'216, world);  // MiniLM
    EXPECT_LE(static_cast<double>(plan.shard_numel()), 1.03 * 22'713'216 / world) << world;
  }
}

}  // namespace
}  // namespace fmtrain
