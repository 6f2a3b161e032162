// The arithmetic of strong and weak scaling, from runs with figures that divide evenly.
#include "runtime/scaling/scaling.h"

#include <gmock/gmock.h>

#include "runtime/errors.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

ScalingPlan plan_for(std::vector<int> ranks, int cores) {
  ScalingPlan plan;
  plan.config = "some.yaml";
  plan.ranks = std::move(ranks);
  plan.global = 16;
  plan.micro = 2;
  plan.steps = 3;
  plan.warmup = 1;
  plan.launcher = "mpirun -np {ranks}";
  plan.cores = cores;
  return plan;
}

MeasuredRun run_of(int ranks, int64_t global, int repetition, double tokens_per_second) {
  MeasuredRun run;
  run.ranks = ranks;
  run.global = global;
  run.repetition = repetition;
  run.device = "cpu";
  run.weights = "w" + std::to_string(global);
  run.losses = {"0x1p+0", "0x1p-1", "0x1p-2"};
  run.updates = 2;
  run.seconds = 2;
  run.samples = 32;
  run.tokens = 2 * tokens_per_second;
  run.parts = {0.5, 0.25, 0.125, 0.0625, 0.0625, 0.125};
  return run;
}

TEST(Spread, MedianAndOverlap) {
  const Spread even = spread_of({4, 1, 2, 3});
  EXPECT_EQ(even.median, 2.5);
  EXPECT_EQ(even.least, 1);
  EXPECT_EQ(even.most, 4);
  EXPECT_TRUE(apart({2, 1, 3}, {5, 4, 6}));
  EXPECT_FALSE(apart({2, 1, 3}, {4, 3, 5}));  // they touch
  EXPECT_EQ(chance_apart(3, 3), 0.1);         // 2 / (6 over 3)
  EXPECT_EQ(chance_apart(5, 5), 2.0 / 252);
  EXPECT_EQ(chance_apart(1, 1), 1);
}

TEST(Scaling, EfficiencyAndSerialShare) {
  EXPECT_EQ(efficiency(150, 2, 100, 1), 0.75);
  EXPECT_EQ(efficiency(600, 8, 400, 4), 0.75);
  EXPECT_EQ(serial_share(2, 2), 0);
  EXPECT_EQ(serial_share(2, 4), 1.0 / 3);  // (1/2 - 1/4) / (3/4)
}

TEST(Scaling, ArmsAreSharedByTheModes) {
  const auto arms = arms_of(plan_for({1, 2}, 2));
  ASSERT_EQ(arms.size(), 3u);
  EXPECT_EQ(arms[0].global, 16);  // of both modes
  EXPECT_EQ(arms[1].global, 16);
  EXPECT_EQ(arms[2].global, 32);
  try {
    arms_of(plan_for({1, 12}, 2));
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("batch.micro=1,"));  // 16 samples over 12 ranks
  }
}

TEST(Scaling, EfficiencyIsTakenInsideARepetition) {
  // The machine was half as fast in the second repetition; efficiency does not see it.
  const std::vector<MeasuredRun> runs{run_of(1, 16, 1, 1000), run_of(2, 16, 1, 1500), run_of(2, 32, 1, 1800),
                                      run_of(1, 16, 2, 500),  run_of(2, 16, 2, 750),  run_of(2, 32, 2, 900)};
  const Json all = scaling_json(plan_for({1, 2}, 2), runs, Json::object());
  ASSERT_EQ(all.at("rows").size(), 4u);
  const Json& strong = all.at("rows")[1];
  EXPECT_EQ(strong.at("efficiency"), (Json{{"median", 0.75}, {"min", 0.75}, {"max", 0.75}}));
  EXPECT_EQ(strong.at("speedup").at("median"), 1.5);
  EXPECT_EQ(strong.at("serial_share"), (1 / 1.5 - 0.5) / 0.5);
  EXPECT_EQ(strong.at("tokens_per_s"), (Json{{"median", 1125.0}, {"min", 750.0}, {"max", 1500.0}}));
  EXPECT_EQ(strong.at("step_s").at("median"), 1);
  EXPECT_EQ(strong.at("seconds").at("waiting").at("median"), 0.125);
  EXPECT_EQ(all.at("rows")[3].at("efficiency").at("median"), 0.9);
  EXPECT_EQ(all.at("equal"), true);
}

TEST(Scaling, OversubscribedRanksHaveNoEfficiency) {
  const std::vector<MeasuredRun> runs{run_of(1, 16, 1, 1000), run_of(2, 16, 1, 2000), run_of(4, 16, 1, 2000)};
  auto plan = plan_for({1, 2, 4}, 2);
  plan.weak = false;
  const Json all = scaling_json(plan, runs, Json::object());
  EXPECT_EQ(all.at("rows")[1].at("oversubscribed"), false);
  EXPECT_EQ(all.at("rows")[2].at("oversubscribed"), true);
  EXPECT_TRUE(all.at("rows")[2].at("efficiency").is_null());
  EXPECT_TRUE(all.at("rows")[2].at("speedup").is_null());
  EXPECT_THAT(scaling_text(all), HasSubstr("| strong | 4 x 1 (oversubscribed) | 16 |"));
  EXPECT_THAT(scaling_page(all), Not(HasSubstr("strong, 4 ranks: ")));  // no point of a curve
  auto hosts = run_of(4, 16, 1, 1);
  hosts.hosts = 2;
  EXPECT_FALSE(oversubscribed(hosts, 2));
  hosts.threads = 2;
  EXPECT_TRUE(oversubscribed(hosts, 2));
  hosts.device = "cuda:0";
  EXPECT_FALSE(oversubscribed(hosts, 2));
}

TEST(Scaling, BaseIsTheSmallestThatIsNotOversubscribed) {
  auto wide = run_of(1, 16, 1, 100);
  wide.threads = 4;
  const Json none = scaling_json(plan_for({1}, 2), {wide}, Json::object());
  EXPECT_TRUE(none.at("rows")[0].at("base").is_null());
  EXPECT_EQ(scaling_picture(none), "");
  auto plan = plan_for({2, 4}, 4);
  plan.weak = false;
  const Json two = scaling_json(plan, {run_of(2, 16, 1, 100), run_of(4, 16, 1, 180)}, Json::object());
  EXPECT_EQ(two.at("rows")[1].at("base"), 2);
  EXPECT_EQ(two.at("rows")[1].at("efficiency").at("median"), 0.9);
  EXPECT_TRUE(two.at("rows")[1].at("serial_share").is_null());  // of one rank only
}

TEST(Scaling, DifferentBitsAreNamed) {
  auto other = run_of(2, 16, 1, 1);
  other.losses[1] = "0x1.0000000000001p-1";
  auto weights = run_of(4, 16, 1, 1);
  weights.weights = "else";
  const std::vector<MeasuredRun> runs{run_of(1, 16, 1, 1), other, weights, run_of(2, 32, 1, 1)};
  EXPECT_THAT(differences(runs),
              ElementsAre(HasSubstr("2 ranks, repetition 1 differ in the loss of update 2 (0x1p-1, 0x1.0000000000001p-1)"),
                          HasSubstr("4 ranks, repetition 1 have equal losses and different weights")));
  const Json all = scaling_json(plan_for({1, 2, 4}, 4), runs, Json::object());
  EXPECT_EQ(all.at("equal"), false);
  EXPECT_THAT(scaling_text(all), HasSubstr("do not have equal bits"));
  EXPECT_THAT(scaling_page(all), HasSubstr("do not have equal bits"));
}

class MeasuredRunFiles : public TemporaryFolder {
 protected:
  static std::string line(int step, double total) {
    return Json{{"step", step},
                {"loss_hex", "0x1p+" + std::to_string(step)},
                {"samples", 8},
                {"tokens", 100},
                {"seconds",
                 {{"total", total},
                  {"compute", total / 2},
                  {"communication", total / 4},
                  {"data", 0},
                  {"optimizer", total / 4},
                  {"other", 0},
                  {"waiting", 0}}}}
               .dump() +
           "\n";
  }
  void write_report(const Json& training) const {
    const auto rank = [](double compute, int64_t bytes) {
      return Json{{"rss", bytes}, {"peak_rss", 2 * bytes}, {"pss", bytes / 2}, {"seconds", {{"compute", compute}}}};
    };
    write("report.json", Json{{"run", {{"ranks", 2}, {"hosts", 1}, {"threads", 1}, {"device", "cpu"}}},
                              {"weights_sha256", "w"},
                              {"memory", {rank(1, 100), rank(3, 80)}},
                              {"training", training}}
                             .dump());
  }
};

TEST_F(MeasuredRunFiles, WarmupIsLeftOut) {
  write("log.jsonl", line(1, 100) + line(2, 2) + line(3, 2));
  write_report({{"gemm_share", 0.25}, {"tokens_per_s", 50.0}});
  const MeasuredRun run = read_run(path(""), 1);
  EXPECT_EQ(run.updates, 2);
  EXPECT_EQ(run.tokens_per_second(), 50);
  EXPECT_EQ(run.samples_per_second(), 4);
  EXPECT_EQ(run.step_seconds(), 2);
  EXPECT_EQ(run.parts[0], 1);
  EXPECT_EQ(run.product_share, 0.25);
  EXPECT_EQ(run.slowest, 1.5);
  EXPECT_EQ(run.rss, 100);
  EXPECT_EQ(run.pss_sum, 90);
  EXPECT_THAT(run.losses, ElementsAre("0x1p+1", "0x1p+2", "0x1p+3"));
}

TEST_F(MeasuredRunFiles, WhatIsMissingIsSaid) {
  write("log.jsonl", line(1, 1));
  EXPECT_THROW(read_run(path(""), 1), DataError);
  write("log.jsonl", "{\"step\": 1}\n");
  EXPECT_THROW(read_run(path(""), 0), DataError);
  write("log.jsonl", line(1, 1));
  write("report.json", "{\"run\": {}}");
  EXPECT_THROW(read_run(path(""), 0), DataError);
}

}  // namespace
}  // namespace fmtrain
