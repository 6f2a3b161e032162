// What `fmtrain check` says about memory, for a tiny model.
#include "runtime/dry_run.h"

#include <gmock/gmock.h>

#include "runtime/data/prepare.h"
#include "runtime/errors.h"
#include "tests/unit/runtime/tiny_model.h"

namespace fmtrain {
namespace {

class DryRun : public TinyModelFolder {
 protected:
  Config config() const {
    std::string text;
    for (int i = 0; i < 8; ++i) text += "a O\nbc B-P\n\n";
    write("t.conll", text);
    PrepareOptions options;
    options.max_length = 8;
    prepare_file(path("t.conll"), options, *tokenizer_, path("t.h5"));
    Config c;
    c.run.dir = path("run");
    c.model.path = path("base");
    c.model.init = Init::kRandom;
    c.data.train = path("t.h5");
    c.data.max_length = 8;
    c.batch = {8, 4};
    return c;
  }
};

TEST_F(DryRun, SaysWhetherItFitsAndWhatWould) {
  Config c = config();
  c.engine.zero = 0;
  const auto total = dry_run(c, {.ranks = 2}).at("memory").at("total").get<int64_t>();
  const Json right = dry_run(c, {.ranks = 2, .memory = total}).at("fit");
  EXPECT_EQ(right.at("fits"), true);
  EXPECT_EQ(right.at("changes"), Json::array());
  EXPECT_EQ(right.at("largest_micro"), 4);  // more would leave a rank without a leaf
  EXPECT_EQ(right.at("source"), "given");

  const Json facts = dry_run(c, {.ranks = 2, .memory = total - 1});
  const Json& tight = facts.at("fit");
  EXPECT_EQ(tight.at("fits"), false);
  EXPECT_EQ(tight.at("changes").at(0).at("setting"), (Json{{"engine.zero", 1}, {"engine.shard_group", "world"}, {"engine.recompute", 0}, {"batch.micro", 4}}));
  EXPECT_LT(tight.at("changes").at(0).at("total").get<int64_t>(), total);
  EXPECT_THAT(dry_run_text(facts), testing::HasSubstr("fits with engine.zero: 1: "));

  const Json none = dry_run(c, {.ranks = 2, .memory = 1});
  EXPECT_EQ(none.at("fit").at("largest_micro"), 0);
  EXPECT_EQ(none.at("fit").at("changes"), Json::array());
  EXPECT_THAT(dry_run_text(none), testing::HasSubstr("does not fit at any setting: the least needs "));
}

TEST_F(DryRun, MemoryIsThisMachinesUnlessGiven) {
  const Json one = dry_run(config(), {.ranks = 1}).at("fit"), two = dry_run(config(), {.ranks = 2, .ranks_per_node = 2}).at("fit");
  ASSERT_FALSE(one.is_null());
  EXPECT_THAT(one.at("source").get<std::string>(), testing::AnyOf("host", "cgroup"));
  EXPECT_EQ(one.at("memory").get<int64_t>() / 2, two.at("memory").get<int64_t>());
  EXPECT_EQ(dry_run(config(), {.ranks = 2, .ranks_per_node = 1}).at("fit").at("memory"), one.at("memory"));
}

/// Parameters lie once on a machine, so more machines hold more of them.
TEST_F(DryRun, RanksShareParametersInsideAMachineOnly) {
  Config c = config();
  c.engine.zero = 3;
  const auto parameters = [&](int per_node) { return dry_run(c, {.ranks = 2, .ranks_per_node = per_node}).at("memory").at("parameters").get<int64_t>(); };
  EXPECT_NEAR(static_cast<double>(parameters(1)), 2.0 * static_cast<double>(parameters(2)), 8);  // elements are not halved
}

/// engine.shard_group: node.
TEST_F(DryRun, ACopyOnEveryHostTakesMoreAndNeedsEvenHosts) {
  Config c = config();
  c.batch.micro = 1;
  c.engine.zero = 2;
  const auto optimizer = [&](int per_node) { return dry_run(c, {.ranks = 8, .ranks_per_node = per_node}).at("memory").at("optimizer").get<int64_t>(); };
  const int64_t world = optimizer(2);
  c.engine.shard_group = ShardGroup::kNode;
  EXPECT_GT(optimizer(1), world);  // a shard is a block at least
  EXPECT_EQ(optimizer(8), world);
  const auto on = [&](int ranks, int per_node) { return [&c, ranks, per_node] { dry_run(c, {.ranks = ranks, .ranks_per_node = per_node}); }; };
  EXPECT_THAT(on(6, 4), testing::ThrowsMessage<ConfigError>(testing::HasSubstr("of 6 ranks with 4 a host, hosts have different numbers of ranks; "
                                                                                 "change their numbers, or use world")));
  EXPECT_THAT(on(6, 3), testing::ThrowsMessage<ConfigError>(testing::HasSubstr("3 ranks of a host are no power of two")));
  EXPECT_NO_THROW(on(3, 3)());
  c.engine.zero = 0;
  EXPECT_NO_THROW(on(6, 4)());
}

}  // namespace
}  // namespace fmtrain
