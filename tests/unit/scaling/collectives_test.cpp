// The models of collectives, failures and updates, with values worked out by hand.
#include "runtime/scaling/collectives.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/errors.h"
#include "runtime/scaling/goodput.h"
#include "runtime/scaling/published.h"
#include "runtime/scaling/step_model.h"

namespace fmtrain {
namespace {

constexpr Link kLink{0.5, 8};  // seconds, bytes a second: all sums below are exact

TEST(Collectives, OneLink) {
  EXPECT_EQ(ring_all_reduce(4, 64, kLink), 6 * 0.5 + 1.5 * 8);
  EXPECT_EQ(ring_half(4, 64, kLink), 3 * 0.5 + 0.75 * 8);
  EXPECT_EQ(tree_all_reduce(4, 64, kLink), 4 * 0.5 + 16);
  EXPECT_EQ(tree_all_reduce(5, 64, kLink), 6 * 0.5 + 16);  // three levels
  EXPECT_EQ(in_network_all_reduce(4, 64, kLink, 40), 2 * 0.5 + 8);
  EXPECT_EQ(in_network_all_reduce(41, 64, kLink, 40), 4 * 0.5 + 8);
}

TEST(Collectives, ARankAloneSendsNothing) {
  for (const auto algorithm : {Algorithm::kRing, Algorithm::kTree, Algorithm::kHierarchical, Algorithm::kInNetwork}) {
    EXPECT_EQ(all_reduce_seconds(algorithm, 1, 64, {kLink, kLink, 4, 40}), 0) << name_of(algorithm);
    EXPECT_EQ(half_seconds(algorithm, 1, 64, {kLink, kLink, 4, 40}), 0) << name_of(algorithm);
  }
}

TEST(Collectives, Nodes) {
  const Network network{{0.25, 32}, kLink, 4, 40};
  // Four ranks of a node use the inner link alone.
  EXPECT_EQ(all_reduce_seconds(Algorithm::kHierarchical, 4, 64, network), 6 * 0.25 + 1.5 * 2);
  EXPECT_EQ(all_reduce_seconds(Algorithm::kRing, 4, 64, network), 6 * 0.25 + 1.5 * 2);
  // Two nodes: inside as before, then a quarter of the buffer between two.
  EXPECT_EQ(all_reduce_seconds(Algorithm::kHierarchical, 8, 64, network), 4.5 + 2 * 0.5 + 1 * 2);
  EXPECT_EQ(all_reduce_seconds(Algorithm::kInNetwork, 8, 64, network), 4.5 + 2 * 0.5 + 2);
  EXPECT_EQ(half_seconds(Algorithm::kHierarchical, 8, 64, network), 2.25 + 0.5 + 1);
  // A flat ring of 8: the outer latency, and the smaller of the inner rate (32) and the rates of a node together (4 x 8).
  EXPECT_EQ(all_reduce_seconds(Algorithm::kRing, 8, 64, network), 14 * 0.5 + 1.75 * 2);
}

TEST(Collectives, CopiesOnNodes) {
  const Network network{{0.25, 32}, kLink, 4, 40};
  // Inside half of an all-reduce, then a quarter of the buffer between two or four nodes.
  EXPECT_EQ(copies_reduce_seconds(Algorithm::kHierarchical, 8, 64, network), 2.25 + 2 * 0.5 + 2);
  EXPECT_EQ(copies_reduce_seconds(Algorithm::kRing, 16, 64, network), 2.25 + 6 * 0.5 + 1.5 * 2);
  EXPECT_EQ(copies_reduce_seconds(Algorithm::kTree, 16, 64, network), 2.25 + 4 * 0.5 + 4);
  EXPECT_EQ(copies_reduce_seconds(Algorithm::kInNetwork, 16, 64, network), 2.25 + 2 * 0.5 + 2);
  EXPECT_EQ(copies_gather_seconds(16, 64, network), 2.25);
  // On one node a copy is shared out by all ranks there are.
  EXPECT_EQ(copies_reduce_seconds(Algorithm::kRing, 4, 64, network), half_seconds(Algorithm::kRing, 4, 64, network));
  EXPECT_EQ(copies_gather_seconds(2, 64, network), half_seconds(Algorithm::kRing, 2, 64, network));
}

TEST(Collectives, BytesBetweenNodes) {
  const Network network{{0.25, 32}, kLink, 4, 40};
  for (const auto algorithm : {Algorithm::kRing, Algorithm::kTree, Algorithm::kHierarchical, Algorithm::kInNetwork})
    for (const auto bytes : {all_reduce_between, half_between, copies_reduce_between}) EXPECT_EQ(bytes(algorithm, 4, 64, network), 0);
  EXPECT_EQ(all_reduce_between(Algorithm::kRing, 16, 64, network), 2 * 16 * 15.0 / 16);
  EXPECT_EQ(all_reduce_between(Algorithm::kTree, 16, 64, network), 2 * 16);
  EXPECT_EQ(all_reduce_between(Algorithm::kHierarchical, 16, 64, network), 2 * 16 * 0.75);
  EXPECT_EQ(all_reduce_between(Algorithm::kInNetwork, 16, 64, network), 16);
  EXPECT_EQ(half_between(Algorithm::kRing, 16, 64, network), 16 * 15.0 / 16);
  EXPECT_EQ(half_between(Algorithm::kHierarchical, 16, 64, network), 16 * 0.75);
  EXPECT_EQ(copies_reduce_between(Algorithm::kRing, 16, 64, network), 2 * 16 * 0.75);
}

TEST(Collectives, NamesAreThere) {
  for (const char* word : {"ring", "tree", "hierarchical", "in-network"}) EXPECT_STREQ(name_of(algorithm_of(word)), word);
  EXPECT_THROW(algorithm_of("star"), ConfigError);
}

TEST(Collectives, FitFindsTheLink) {
  std::vector<std::pair<double, double>> measured;
  for (const double bytes : {64.0, 4096.0, 65536.0}) measured.emplace_back(bytes, ring_all_reduce(4, bytes, kLink));
  const Link found = fit_ring(4, measured);
  EXPECT_NEAR(found.alpha, 0.5, 1e-9);
  EXPECT_NEAR(found.rate, 8, 1e-9);
  // A large buffer that is faster than its share: no latency below 0.
  EXPECT_EQ(fit_ring(2, {{64, 1}, {6400, 200}}).alpha, 0);
  EXPECT_THROW(fit_ring(2, {}), DataError);
}

TEST(Collectives, FitOfAllRanksLeavesOutWhatIsInside) {
  Network network{{0.25, 1024}, {0.5, 8}, 4, 40};
  std::vector<std::pair<double, double>> measured;
  for (const double bytes : {64.0, 4096.0, 65536.0})
    measured.emplace_back(bytes, all_reduce_seconds(Algorithm::kHierarchical, 12, bytes, network));
  network.between = {};
  const Link found = fit_between(3, measured, network);
  EXPECT_NEAR(found.alpha, 0.5, 1e-9);
  EXPECT_NEAR(found.rate, 8, 1e-9);
  network.inside.rate = 1;  // takes longer than all
  EXPECT_THROW(fit_between(3, measured, network), DataError);
}

TEST(Goodput, YoungAndDaly) {
  const Failures f{200, 1, 0};
  EXPECT_EQ(job_mean_time(1000, 5), 200);
  EXPECT_EQ(young_interval(f), 20);                                          // sqrt(2 * 1 * 200)
  EXPECT_DOUBLE_EQ(daly_interval(f), 20 * (1 + 0.05 / 3 + 1 / 3600.0) - 1);  // sqrt(1/400) = 0.05
  EXPECT_EQ(daly_interval({1, 5, 0}), 1);
  EXPECT_EQ(goodput({0, 1, 0}, 9), 0.9);
  EXPECT_EQ(goodput({200, 0, 100}, daly_interval({200, 0, 100})), std::exp(-0.5));
  EXPECT_DOUBLE_EQ(goodput(f, 19), 19 / (200 * std::expm1(0.1)));
  EXPECT_DOUBLE_EQ(goodput({200, 1, 200}, 19), 19 / (200 * std::exp(1) * std::expm1(0.1)));
}

TEST(Goodput, DalysIntervalIsNearTheBest) {
  const Failures f{3600, 20, 60};
  const double best = goodput(f, daly_interval(f));
  for (const double other : {0.5, 0.8, 1.25, 2.0}) EXPECT_GT(best, goodput(f, other * daly_interval(f))) << other;
}

TEST(StepModel, LargestOfNormals) {
  EXPECT_NEAR(expected_largest(1), 0, 1e-9);
  EXPECT_NEAR(expected_largest(2), 1 / std::sqrt(M_PI), 1e-6);
  EXPECT_NEAR(expected_largest(3), 1.5 / std::sqrt(M_PI), 1e-6);
}

Timeline two_buckets() {
  Timeline t;
  t.leaves = 8;
  t.forward = 1;
  t.backward = 2;
  t.optimizer = 0.5;
  t.other = 0.25;
  t.buckets = {{64, 0.5}, {64, 1}};
  return t;
}

TEST(StepModel, ExposedIsWhatBackwardDoesNotHide) {
  const Timeline t = two_buckets();
  Scenario s{1, 0, 1, Algorithm::kRing, {{0, 128}, {0, 128}, 8, 40}, 0};
  EXPECT_EQ(predict(t, s).total(), 1 + 2 + 0.5 + 0.25);
  EXPECT_EQ(predict(t, s).exposed, 0);
  s.ranks = 2;  // 64 / 128 = 0.5 s a bucket: from 2 to 2.5, and from 3 to 3.5
  EXPECT_EQ(predict(t, s).exposed, 0.5);
  EXPECT_EQ(predict(t, s).hidden, 0.5);
  s.network.inside.rate = 32;  // 2 s each: from 2 to 4, then to 6
  EXPECT_EQ(predict(t, s).exposed, 3);
  EXPECT_EQ(predict(t, s).hidden, 1);
  s.leaves = 3;  // only the last one sends
  EXPECT_EQ(predict(t, s).compute, 9);
  EXPECT_EQ(predict(t, s).exposed, 3);
}

TEST(StepModel, RanksOnCpusSendWhenBackwardIsOver) {
  Timeline t = two_buckets();
  t.on_cpu = true;
  t.parameters = 32;  // 128 bytes, and 1/16 byte of squares
  Scenario s{2, 0, 1, Algorithm::kRing, {{0, 128}, {0, 128}, 8, 40}, 0};
  const double squares = 0.0625 / 128;
  EXPECT_EQ(predict(t, s).exposed, 2 * 0.5 + squares);
  EXPECT_EQ(predict(t, s).hidden, 0);
  for (const int stage : {1, 2, 3}) {
    s.stage = stage;
    EXPECT_EQ(predict(t, s).exposed, 2 * 0.25 + 0.5 + squares) << stage;  // handed out, also at stage 3
    EXPECT_EQ(predict(t, s).hidden, 0) << stage;
  }
  s.network.per_node = 1;
  EXPECT_EQ(between_bytes(t, s), 64 + 64 + 0.0625);
}

TEST(StepModel, StagesShareTheUpdateAndHandOut) {
  Timeline t = two_buckets();
  t.parameters = 0;
  Scenario s{2, 1, 1, Algorithm::kRing, {{0, 128}, {0, 128}, 8, 40}, 0};
  EXPECT_EQ(predict(t, s).optimizer, 0.25);
  EXPECT_EQ(predict(t, s).exposed, 0.25);  // the last reduce-scatter
  t.parameters = 32;
  t.parameter_bytes = 4;  // 128 bytes: half of them over 128 a second, and 1/16 byte of squares
  EXPECT_EQ(predict(t, s).exposed, 0.25 + 0.5 + 0.0625 / 128);
  // A gather takes 0.25 s. Forward waits for its first one, the second is hidden; so does backward; then the last gradient.
  s.stage = 3;
  EXPECT_EQ(predict(t, s).exposed, 0.25 + 0.25 + 0.25 + 0.0625 / 128);
}

TEST(StepModel, ACopyOnEveryNodeSendsNothingAfterTheUpdate) {
  Timeline t = two_buckets();
  t.parameters = 32;  // 128 bytes
  // Two nodes of two: 128 bytes a second inside, 32 between.
  Scenario s{4, 1, 1, Algorithm::kHierarchical, {{0, 128}, {0, 32}, 2, 40}, 0, true};
  EXPECT_EQ(s.sharers(), 2);
  EXPECT_EQ(predict(t, s).optimizer, 0.25);
  // A bucket: 32 / 128 inside and 32 / 32 between; the first is ready at 2 and over at 3.25, the second at 4.5. Then half of the parameters
  // inside, and the squares: 1/16 byte, all-reduced.
  const double squares = 0.0625 / 128 + 0.0625 / 2 / 32;
  EXPECT_EQ(predict(t, s).exposed, 1.5 + 0.5 + squares);
  EXPECT_EQ(between_bytes(t, s), 64 + 0.0625 / 2);
  s.by_node = false;  // a bucket takes 0.25 + 0.5 and is over at 3.75; the parameters 0.5 inside and 1 between
  EXPECT_EQ(s.sharers(), 4);
  EXPECT_EQ(predict(t, s).exposed, 0.75 + 1.5 + squares);
  EXPECT_EQ(between_bytes(t, s), 64 + 0.0625 / 2);  // as many, but half of them when nothing hides them
  // At stage 3 parameters are gathered twice a leaf, inside alone or between as well.
  s.stage = 3;
  s.leaves = 2;
  EXPECT_EQ(between_bytes(t, s), 32 + 4 * 32 + 0.0625 / 2);
  s.by_node = true;
  EXPECT_EQ(between_bytes(t, s), 64 + 0.0625 / 2);
  s.ranks = 2;
  EXPECT_EQ(between_bytes(t, s), 0);
}

TEST(StepModel, RanksThatShareCoresTakeTurns) {
  Timeline t = two_buckets();
  t.cores = 2;
  Scenario s{4, 0, 2, Algorithm::kRing, {{0, 0}, {0, 0}, 8, 40}, 2};
  EXPECT_EQ(predict(t, s).compute, 2 * 3 * 2);
  s.ranks = 2;
  EXPECT_EQ(predict(t, s).compute, 2 * 3);
}

TEST(StepModel, RanksAreRecordedOnTheCoresOfTheirOwnMachine) {
  Timeline t = two_buckets();
  t.ranks = t.cores = 2;
  const Scenario s{4, 0, 2, Algorithm::kRing, {{0, 0}, {0, 0}, 2, 40}, 1};
  EXPECT_EQ(predict(t, s).compute, 2 * 3 * 2);  // nobody waited for a core there; here two share one
  t.cores = 1;
  EXPECT_EQ(predict(t, s).compute, 2 * 3);
}

TEST(StepModel, Efficiencies) {
  const Timeline t = two_buckets();  // alone 8 * 3 + 0.75
  const Scenario s{2, 0, 4, Algorithm::kRing, {{0, 128}, {0, 128}, 8, 40}, 0};
  EXPECT_EQ(leaves_of_rank(t, 2), 4);
  EXPECT_EQ(leaves_of_rank(t, 3), 3);
  EXPECT_EQ(strong_efficiency(t, s), 24.75 / (2 * (12 + 0.5 + 0.75)));
  EXPECT_EQ(weak_efficiency(t, s), 12.75 / 13.25);
}

TEST(StepModel, StateOfARank) {
  EXPECT_EQ(state_bytes(0, 100, 4, 4, 7), 1600);
  EXPECT_EQ(state_bytes(1, 100, 4, 4, 7), 800 + 200);
  EXPECT_EQ(state_bytes(1, 100, 2, 4, 7), 400 + 300);
  EXPECT_EQ(state_bytes(2, 100, 4, 4, 7), 400 + 300);
  EXPECT_EQ(state_bytes(2, 100, 2, 4, 7), 200 + 350);
  EXPECT_EQ(state_bytes(3, 100, 2, 4, 7), 400 + 7);
}

TEST(Published, WhatAgreesAndWhatDoesNot) {
  int agree = 0;
  for (const Json& row : published_json()) {
    EXPECT_EQ(row.at("agrees").get<bool>(), row.at("why").get<std::string>().empty()) << row;
    agree += row.at("agrees").get<bool>() ? 1 : 0;
  }
  EXPECT_EQ(published_json().size(), 9u);
  EXPECT_EQ(agree, 7);
}

}  // namespace
}  // namespace fmtrain
