#include "runtime/watch/failure.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "runtime/file_ops.h"
#include "runtime/json.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;

FailureRecord record(int rank, int code, bool found = true) {
  FailureRecord f{{code, "because", rank, "n7", "train", 5}, found, "cpu", {}, {}, {"fmtrain+0x12 wait"}, Json{{"optimizer", 9}}, {{"SLURM_JOB_ID", "7"}}};
  Journal journal{};
  for (int i = 0; i < 70; ++i) journal.set(journal.issue(Collective::Op::kAllGather, 1000), Collective::State::kDone);
  journal.set(journal.issue(Collective::Op::kAllReduce, 4096), Collective::State::kRunning);
  f.collectives = journal.last();
  for (int r = 0; r < 3; ++r) f.ranks.push_back({r, 100 + r, 5, 9, 0, 0, r == 1, "train", f.collectives.back()});
  f.ranks[2].last = {};
  return f;
}

class Failure : public TemporaryFolder {
 protected:
  Json json(const std::string& name) const { return parse_json(content(name), {1 << 20, 16}); }
};

TEST_F(Failure, HasTheCollectivesOfTheRankAndTheLastOfEveryRank) {
  write_failure(folder_.string(), record(2, 8));
  const Json f = json("failure.json");
  ASSERT_EQ(f.at("collectives").size(), 64u);
  const Json& last = f.at("collectives").back();
  EXPECT_EQ(last.at("seq"), 71);
  EXPECT_EQ(last.at("op"), "all_reduce");
  EXPECT_EQ(last.at("bytes"), 4096);
  EXPECT_EQ(last.at("state"), "running");
  EXPECT_LT(last.at("seconds_ago").get<double>(), 10);
  EXPECT_EQ(f.at("collectives")[62].at("state"), "done");
  EXPECT_EQ(f.at("memory").at("ledger"), Json({{"optimizer", 9}}));
  EXPECT_EQ(f.at("environment"), Json({{"SLURM_JOB_ID", "7"}}));
  EXPECT_EQ(f.at("stack"), Json::array({"fmtrain+0x12 wait"}));
  EXPECT_EQ(f.at("ranks_of_host")[1].at("last_collective").at("seq"), 71);
  EXPECT_EQ(f.at("ranks_of_host")[1].at("stopped"), true);
  EXPECT_TRUE(f.at("ranks_of_host")[2].at("last_collective").is_null());
  EXPECT_THAT(content("failure.txt"), HasSubstr("rank 0 on n7 (process 100), in train, step 5, last all_reduce of 4096 bytes (collective 71, running for 0 s)"));
}

TEST_F(Failure, OfTheFirstRankStaysAndAHangLeavesOneOfEveryRank) {
  write_failure(folder_.string(), record(3, 8, false));  // quicker than the rank that found it
  for (const int rank : {2, 0, 1}) write_failure(folder_.string(), record(rank, 8));
  EXPECT_EQ(json("failure.json").at("rank"), 2);
  EXPECT_THAT(content("failure.txt"), HasSubstr("Noticed first by rank 2"));
  for (const int rank : {0, 1, 2, 3}) EXPECT_EQ(json("failure.rank-" + std::to_string(rank) + ".json").at("rank"), rank);
  EXPECT_LT(content("failure.rank-0.json").size(), 20'000u);
  for (const char* name : {"failure.txt.tmp-0123456789abcdef", "failure.rank-0.json.tmp-0123456789abcdef"}) write(name, "");  // killed
  clear_failure(folder_.string());
  EXPECT_TRUE(std::filesystem::is_empty(folder_.string()));
}

TEST_F(Failure, ThatAllRanksHaveAlikeLeavesOneRecord) {
  for (const int rank : {1, 0}) write_failure(folder_.string(), record(rank, 3));
  EXPECT_EQ(json("failure.json").at("rank"), 1);
  EXPECT_FALSE(std::filesystem::exists(path("failure.rank-0.json")));
  EXPECT_FALSE(std::filesystem::exists(path("failure.rank-1.json")));
}

}  // namespace
}  // namespace fmtrain
