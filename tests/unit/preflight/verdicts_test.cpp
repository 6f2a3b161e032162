// Verdicts of the pre-flight on invented figures.
#include <gmock/gmock.h>

#include <set>

#include "runtime/preflight/links.h"
#include "runtime/preflight/places.h"
#include "runtime/preflight/subjects.h"
#include "runtime/preflight/table.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const HostNames kHosts{{0, "h1"}, {1, "h2"}, {2, "h3"}, {3, "h4"}};

RankPlace place(int rank, const std::string& host, std::vector<int> cores, int threads) {
  RankPlace p;
  p.rank = rank;
  p.host = host;
  p.cores = std::move(cores);
  p.threads = threads;
  return p;
}

/// Of four hosts, whose links have these GB/s each way: a pair has the lesser.
std::vector<PairFigures> pairs_of(const std::vector<double>& links) {
  std::vector<PairFigures> pairs;
  for (int a = 0; a < static_cast<int>(links.size()); ++a)
    for (int b = a + 1; b < static_cast<int>(links.size()); ++b)
      pairs.push_back({a, b, 1e-5, std::min(links[static_cast<size_t>(a)], links[static_cast<size_t>(b)]), 0});
  return pairs;
}

TEST(Rounds, EveryoneMeetsEveryoneOnceAndNobodyTwiceInARound) {
  for (int count = 0; count <= 9; ++count) {
    std::set<std::pair<int, int>> met;
    const auto rounds = rounds_of(count);
    EXPECT_LE(std::ssize(rounds), std::max(0, count - 1 + count % 2)) << count;
    for (const auto& round : rounds) {
      std::set<int> here;
      for (const auto& [a, b] : round) {
        EXPECT_LT(a, b);
        EXPECT_TRUE(here.insert(a).second && here.insert(b).second) << count;
        EXPECT_TRUE(met.insert({a, b}).second) << count;
      }
    }
    EXPECT_EQ(std::ssize(met), count * (count - 1) / 2) << count;
  }
}

TEST(Pairs, OfThreeOrFourHostsTheSlowOneIsNamed) {
  for (const auto& links : {std::vector<double>{10, 10, 0.1}, {10, 10, 0.1, 10}, {8, 10, 0.1, 12}}) {
    const Row row = judge_pairs(pairs_of(links), kHosts, 0, 6);
    EXPECT_EQ(row.status, Status::kWarning);
    EXPECT_EQ(row.values.at("slow_hosts"), Json::array({"h3"}));
    EXPECT_EQ(row.details.size(), links.size() - 1);
    EXPECT_THAT(row.details[0], HasSubstr("h3"));
    EXPECT_THAT(row.fix, HasSubstr("h3"));
  }
}

TEST(Pairs, OneSlowPairIsNamedAndNoHost) {
  auto pairs = pairs_of({10, 10, 10, 10});
  pairs[1].rate = 4.9;  // h1 - h3
  const Row row = judge_pairs(pairs, kHosts, 0, 6);
  EXPECT_EQ(row.status, Status::kWarning);
  EXPECT_EQ(row.values.at("slow"), Json::array({Json::array({"h1", "h3"})}));
  EXPECT_EQ(row.values.at("slow_hosts"), Json::array());
  pairs[1].rate = 5.1;
  EXPECT_EQ(judge_pairs(pairs, kHosts, 0, 6).status, Status::kOk);
}

TEST(Pairs, TwoHostsAreComparedWithWhatIsExpectedOnly) {
  const std::vector<PairFigures> pair{{0, 1, 1e-5, 2.0, 0}};
  EXPECT_EQ(judge_pairs(pair, kHosts, 0, 1).status, Status::kOk);
  EXPECT_EQ(judge_pairs(pair, kHosts, 1.9, 1).status, Status::kOk);
  EXPECT_EQ(judge_pairs(pair, kHosts, 2.1, 1).status, Status::kWarning);
  EXPECT_THAT(judge_pairs(pair, kHosts, 0, 45).found, HasSubstr("1 of 45 pairs"));
  EXPECT_EQ(judge_pairs({}, {{0, "h1"}}, 5, 0).status, Status::kOk);
}

TEST(Clocks, MoreThanASecondThatCannotBeTheNetworks) {
  std::vector<PairFigures> pairs{{0, 1, 1e-4, 1, -1.5}, {0, 2, 1e-4, 1, 0.2}};
  const Row row = judge_clocks(pairs, kHosts);
  EXPECT_EQ(row.status, Status::kWarning);
  EXPECT_THAT(row.details, ElementsAre("h2 is 1.5 s behind h1"));
  pairs[0].latency = 0.6;  // it may be 0.9 s
  EXPECT_EQ(judge_clocks(pairs, kHosts).status, Status::kOk);
  EXPECT_EQ(judge_clocks({}, {}).status, Status::kOk);
}

TEST(Collectives, AWrongSumFailsASlowOneWarns) {
  EXPECT_EQ(judge_collectives("collectives", {0, 1 << 20, 3.0}, 4, 0).status, Status::kOk);
  EXPECT_EQ(judge_collectives("collectives", {0, 1 << 20, 3.0}, 4, 4).status, Status::kWarning);
  const Row wrong = judge_collectives("collectives", {1, 1 << 20, 3.0}, 4, 0);
  EXPECT_EQ(wrong.status, Status::kFailed);
  EXPECT_EQ(wrong.code, ExitCode::kInternal);
}

TEST(Launcher, ManyWorldsOfOneFail) {
  EXPECT_EQ(judge_launcher(4, 4, 2).status, Status::kOk);
  EXPECT_EQ(judge_launcher(0, 4, 2).status, Status::kOk);
  const Row row = judge_launcher(4, 1, 1);
  EXPECT_EQ(row.status, Status::kFailed);
  EXPECT_EQ(row.code, ExitCode::kConfig);
  EXPECT_THAT(row.fix, HasSubstr("--mpi=pmix"));
}

TEST(Ranges, AreAsLinuxListsCpus) {
  EXPECT_EQ(ranges_text({}), "");
  EXPECT_EQ(ranges_text({3}), "3");
  EXPECT_EQ(ranges_text({0, 1}), "0-1");
  EXPECT_EQ(ranges_text({0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
}

TEST(Placement, ThreadsFitTheMasks) {
  EXPECT_EQ(judge_placement({place(0, "a", {0, 1}, 1), place(1, "a", {0, 1}, 1)}).status, Status::kOk);
  EXPECT_EQ(judge_placement({place(0, "a", {0, 1, 2, 3}, 4), place(1, "b", {0, 1, 2, 3}, 4)}).status, Status::kOk);
  EXPECT_EQ(judge_placement({place(0, "a", {}, 64)}).status, Status::kOk);  // nobody knows
}

TEST(Placement, TooManyThreadsOnAHost) {
  const Row row = judge_placement({place(0, "a", {0, 1, 2, 3}, 4), place(1, "a", {0, 1, 2, 3}, 4), place(2, "b", {0, 1, 2, 3}, 4)});
  EXPECT_EQ(row.status, Status::kWarning);
  EXPECT_THAT(row.found, HasSubstr("a: 2 ranks have 8 threads together on 4 cores"));
  EXPECT_THAT(row.fix, HasSubstr("engine.threads: 2"));
  EXPECT_THAT(judge_placement({place(0, "a", {0}, 1), place(1, "a", {0, 1}, 1), place(2, "a", {1}, 1)}).fix, HasSubstr("at most 2 ranks"));
}

TEST(Placement, ARankBoundToOneCoreAndTwoOnTheSame) {
  const Row bound = judge_placement({place(0, "a", {0}, 4), place(1, "a", {1}, 4)});
  EXPECT_EQ(bound.status, Status::kWarning);
  EXPECT_THAT(bound.details, testing::Contains("a: rank 1 has 4 threads on 1 of its cores (1)"));
  EXPECT_THAT(bound.fix, HasSubstr("slot:PE=4"));
  const Row same = judge_placement({place(0, "a", {3}, 1), place(1, "a", {3}, 1), place(2, "b", {3}, 1)});
  EXPECT_EQ(same.status, Status::kWarning);
  EXPECT_THAT(same.details[0], HasSubstr("ranks 0-1 have core 3 alone and share it"));
  EXPECT_THAT(same.fix, HasSubstr("--bind-to core"));
}

TEST(Devices, AFaultIsARowWithItsTable) {
  const Row cpu = judge_devices({place(0, "a", {}, 1)}, "");
  EXPECT_EQ(cpu.status, Status::kOk);
  EXPECT_EQ(cpu.found, "CPU");
  const Row row = judge_devices({place(0, "a", {}, 1)}, "these ranks share a GPU:\n  rank 0  a\n  rank 1  a");
  EXPECT_EQ(row.status, Status::kFailed);
  EXPECT_EQ(row.found, "these ranks share a GPU:");
  EXPECT_THAT(row.details, ElementsAre("  rank 0  a", "  rank 1  a"));
  EXPECT_THAT(row.fix, HasSubstr("--gpus-per-task=1"));
}

TEST(SharedMemory, OfTheRanksOfAHostTogether) {
  auto places = std::vector<RankPlace>{place(0, "a", {}, 1), place(1, "a", {}, 1), place(2, "b", {}, 1)};
  places[0].shm_free = places[1].shm_free = 64 << 20;
  places[2].shm_free = 40 << 20;
  EXPECT_EQ(judge_shared_memory(places, 20 << 20, 20 << 20).status, Status::kOk);
  const Row row = judge_shared_memory(places, 30 << 20, 20 << 20);
  EXPECT_EQ(row.status, Status::kFailed);
  EXPECT_EQ(row.details.size(), 2u);
  EXPECT_THAT(row.fix, HasSubstr("--shm-size"));
}

TEST(Equality, TheOddRanksAreNamedWhereverTheyAre) {
  const auto names = rank_names({"a", "a", "b"});
  Row row{"program", Status::kOk, "same", ""};
  judge_equal(row, {"config", "program"}, {{"1", "x"}, {"1", "x"}, {"1", "x"}}, names, "fix");
  EXPECT_EQ(row.status, Status::kOk);
  EXPECT_EQ(row.found, "same");
  judge_equal(row, {"config", "program"}, {{"2", "x"}, {"1", "x"}, {"1", "y"}}, names, "fix");
  EXPECT_EQ(row.status, Status::kFailed);
  EXPECT_THAT(row.details, ElementsAre("rank 0 on a: another config", "rank 2 on b: another program"));
  EXPECT_EQ(row.fix, "fix");
  Row two{"data", Status::kOk, "", "", ExitCode::kData};
  judge_equal(two, {"data"}, {{"1"}, {"2"}}, rank_names({"a", "b"}), "fix");
  EXPECT_THAT(two.details, ElementsAre("rank 1 on b: another data"));  // of two, rank 0 counts
}

TEST(Faults, OneRanksFaultHasItsName) {
  Row row{"data", Status::kOk, "", ""};
  judge_faults(row, {"", ""}, rank_names({"a", "b"}));
  EXPECT_EQ(row.status, Status::kOk);
  judge_faults(row, {"", "no file"}, rank_names({"a", "b"}));
  EXPECT_EQ(row.found, "rank 1 on b: no file");
  judge_faults(row, {"no file", "no file"}, rank_names({"a", "b"}));
  EXPECT_EQ(row.found, "no file");
}

TEST(Memory, TheTightestRankAndWhatWouldFit) {
  const auto names = rank_names({"a", "b"});
  EXPECT_EQ(judge_memory({{5, 10, "host", ""}, {5, 0, "", ""}}, names).status, Status::kOk);
  const Row row = judge_memory({{5, 10, "host", ""}, {5, 4, "cgroup", "engine.zero: 2"}}, names);
  EXPECT_EQ(row.status, Status::kFailed);
  EXPECT_THAT(row.details, ElementsAre(HasSubstr("rank 1 on b: needs ")));
  EXPECT_EQ(row.fix, "set engine.zero: 2");
}

TEST(Time, WarnsWhereTheLimitComesFirst) {
  EXPECT_EQ(judge_time(100, 1, 101).status, Status::kOk);
  EXPECT_EQ(judge_time(100, 1, 0).status, Status::kOk);
  EXPECT_EQ(judge_time(100, 0, 5).status, Status::kOk);
  EXPECT_EQ(judge_time(100, 1, 99).status, Status::kWarning);
}

TEST(Table, TheFirstFailureGivesTheCode) {
  Preflight checks;
  checks.places = {place(0, "a", {0, 1, 2, 5}, 2)};
  checks.rows = {{"launcher", Status::kOk, "one rank", ""}, {"clocks", Status::kWarning, "2 s", "set them", ExitCode::kConfig, {"a is late"}}};
  EXPECT_EQ(verdict_of(checks.rows), ExitCode::kOk);
  EXPECT_EQ(preflight_json(checks).at("verdict"), "warnings");
  checks.rows.push_back({"storage", Status::kFailed, "full", "make room", ExitCode::kStorage});
  checks.rows.push_back({"lock", Status::kFailed, "taken", "wait", ExitCode::kLocked});
  EXPECT_EQ(verdict_of(checks.rows), ExitCode::kStorage);
  const Json json = preflight_json(checks);
  EXPECT_EQ(json.at("version"), 1);
  EXPECT_EQ(json.at("exit_code"), 5);
  EXPECT_EQ(json.at("checks").at(0).at("exit_code"), 0);
  EXPECT_EQ(json.at("placement").at(0).at("cores"), (Json{0, 1, 2, 5}));
  const std::string text = preflight_text(checks);
  EXPECT_THAT(text, HasSubstr("0-2,5"));
  EXPECT_THAT(text, HasSubstr("a is late"));
  EXPECT_THAT(text, HasSubstr("exit code 5"));
  const Row back = row_from_json(row_json(checks.rows[2]));
  EXPECT_EQ(back.status, Status::kFailed);
  EXPECT_EQ(back.code, ExitCode::kStorage);
  EXPECT_EQ(row_json(back), row_json(checks.rows[2]));
}

}  // namespace
}  // namespace fmtrain
