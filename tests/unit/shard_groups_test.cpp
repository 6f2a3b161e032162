// engine.shard_group: node. A copy of the state on every host gives the bits of one copy, and of stage 0 on one rank, for
// every update rule, precision, stage and shape of hosts; checkpoints of either go on as the other.
#include "runtime/engine/shard_groups.h"

#include <gmock/gmock.h>
#include <ATen/ATen.h>

#include <algorithm>
#include <mutex>

#include "comm/thread_communicator.h"
#include "runtime/errors.h"
#include "tests/support/small_training.h"

namespace fmtrain {
namespace {

/// Hosts of 1, 2 or 4 ranks, each with a copy of its own.
class Copies : public testing::TestWithParam<Rule> {
 protected:
  static Case with(int stage, int ranks, int per_node, Precision precision = Precision::kFp32) {
    Case c{stage, ranks};
    c.per_node = per_node;
    c.precision = precision;
    return with_rule(c, GetParam());
  }
  static std::string name(const Case& c) {
    return "stage " + std::to_string(c.stage) + " on " + std::to_string(c.ranks) + " of " + std::to_string(c.per_node) + " a host";
  }
};

/// Also on 3 hosts, whose 6 ranks have not the bits of one rank, but those of 6 ranks with one copy. On 8 ranks each has one leaf, whose
/// bf16 gradients stay so until they are reduced.
TEST_P(Copies, HaveTheBitsOfStage0OnOneRank) {
  for (const auto precision : {Precision::kFp32, Precision::kBf16}) {
    const auto reference = train(with(0, 1, 0, precision));
    for (const int stage : {1, 2, 3})
      for (const auto& [ranks, per_node] : {std::pair{4, 2}, {8, 4}, {8, 2}, {4, 1}, {4, 4}}) {
        const auto c = with(stage, ranks, per_node, precision);
        expect_same(train(c), reference, name(c));
      }
    for (const int stage : {1, 2}) expect_same(train(with(stage, 6, 2, precision)), train(with(stage, 6, 0, precision)), "3 hosts");
  }
}

TEST_P(Copies, GoOnFromEachOthersState) {
  const auto whole = train(with(0, 1, 0));
  const std::tuple<int, int, int> places[] = {{1, 4, 2}, {2, 2, 0}, {3, 8, 4}, {0, 4, 0}, {1, 8, 2}};
  for (const auto& [stage, ranks, per_node] : places) {
    const auto half = train(with(stage, ranks, per_node), 7, 0, 2);
    for (const auto& [stage2, ranks2, per_node2] : places) {
      const auto next = with(stage2, ranks2, per_node2);
      expect_same(joined(half, train(next, 8, 2, 5, half)), whole, name(with(stage, ranks, per_node)) + ", then " + name(next));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Updates, Copies,
                         testing::Values(Rule{"adamw", OptimizerName::kAdamW, 1, 0}, Rule{"lamb", OptimizerName::kLamb, 1, 0},
                                         Rule{"sgd", OptimizerName::kSgd, 0.7, 0.5}, Rule{"ema", OptimizerName::kAdamW, 0.7, 0.5, 0.9}),
                         [](const auto& rule) { return rule.param.name; });

TEST(CopyOnEveryHost, UnfreezesAndAccumulatesAlike) {
  for (const auto precision : {Precision::kFp32, Precision::kBf16}) {
    const auto with = [&](int stage, int ranks, int per_node) {
      Case c{stage, ranks};
      c.per_node = per_node;
      c.unfreeze_every = 1;
      c.precision = precision;
      return train(c);
    };
    const auto reference = with(0, 1, 0);
    for (const int stage : {1, 2, 3})
      for (const auto& [ranks, per_node] : {std::pair{4, 2}, {8, 4}})
        expect_same(with(stage, ranks, per_node), reference, std::to_string(stage));
  }
}

/// Every element is saved once, over all ranks.
TEST(CopyOnEveryHost, IsSavedOnce) {
  std::mutex mutex;
  std::map<std::string, int64_t> saved, shapes;
  std::vector<int64_t> by_rank;
  run_ranks(4, [&](Communicator& comm) {
    const auto model = make_bert(small_bert(), 7);
    Case c{1, 4};
    c.per_node = 2;
    const auto engine = engine_of(c, *model, comm);
    const std::lock_guard lock(mutex);
    by_rank.push_back(0);
    for (const auto& piece : engine->state().pieces) {
      saved[piece.name] += piece.data.numel();
      by_rank.back() += piece.data.numel();
      shapes[piece.name] = 1;
      for (const auto n : piece.shape) shapes[piece.name] *= n;
    }
  }, 2);
  EXPECT_EQ(saved, shapes);
  EXPECT_GT(*std::min_element(by_rank.begin(), by_rank.end()), 0);
}

/// A group may be any ranks whose partial sums the tree has anyway.
TEST(ShardGroups, RefuseHostsThatAreNoSubtrees) {
  EXPECT_EQ(uneven_nodes({0, 0, 1, 1}), "");
  EXPECT_EQ(uneven_nodes({5, 5, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2}), "");
  EXPECT_EQ(uneven_nodes({0, 1, 2}), "");
  EXPECT_THAT(uneven_nodes({0, 0, 1, 1, 1}), testing::HasSubstr("different numbers"));
  EXPECT_THAT(uneven_nodes({0, 0, 0, 1, 1, 1}), testing::HasSubstr("3 ranks of a host are no power of two"));
  EXPECT_THAT(uneven_nodes({0, 1, 0, 1}), testing::HasSubstr("do not follow"));
  EXPECT_THAT(uneven_nodes({0, 0, 1, 2, 2, 1}), testing::HasSubstr("do not follow"));
}

TEST(ShardGroups, SayWhatEveryHostHas) {
  std::mutex mutex;
  std::vector<std::string> said;
  run_ranks(5, [&](Communicator& comm) {
    try {
      ShardGroups(comm, ShardGroup::kNode, comm.rank() < 2 ? "red" : comm.rank() < 4 ? "green" : "blue");
      ADD_FAILURE() << "not refused";
    } catch (const ConfigError& error) {
      const std::lock_guard lock(mutex);
      said.push_back(error.what());
    }
    EXPECT_EQ(ShardGroups(comm, ShardGroup::kWorld, "").copies(), 1);
  }, 2);
  ASSERT_EQ(said.size(), 5u);
  for (const auto& text : said)
    EXPECT_THAT(text, testing::AllOf(testing::HasSubstr("engine.shard_group"), testing::HasSubstr("\n  red: 2, rank 0 1"),
                                     testing::HasSubstr("\n  green: 2, rank 2 3"), testing::HasSubstr("\n  blue: 1, rank 4")));
}

}  // namespace
}  // namespace fmtrain
