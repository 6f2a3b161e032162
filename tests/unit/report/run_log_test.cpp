#include "runtime/report/run_log.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <thread>

#include "runtime/errors.h"
#include "runtime/report/append_file.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

using RunLogTest = TemporaryFolder;
using ExitTest = TemporaryFolder;

StepRecord record(int64_t step) {
  StepRecord r;
  r.step = step;
  r.loss = 1.0 / static_cast<double>(step);
  r.lr = 0.5;
  r.grad_norm = 2;
  r.samples = 32;
  r.tokens = 600;
  r.total = 1;
  r.compute = 0.5;
  r.communication = 0.25;
  r.optimizer = 0.125;
  r.waiting = 0.0625;
  return r;
}

Json evaluation(int64_t step) { return {{"step", step}, {"split", "validation"}, {"loss", 0.5}, {"metrics", {{"f1", 0.25}}}}; }

void take_steps(RunLog& log, int64_t from, int64_t to) {
  for (int64_t step = from; step <= to; ++step) {
    log.step(record(step));
    if (step % 2 == 0) log.evaluation(evaluation(step));
    if (step % 3 == 0) log.warning({{"step", step}, {"kind", "spike"}});
  }
}

TEST(HexFloat, KeepsEveryBitAndEqualsPythons) {
  EXPECT_EQ(hex_float(0.1), "0x1.999999999999ap-4");  // float.hex(0.1)
  for (const double value : {1.0 / 3, 5e-324, -0.0, 1.7976931348623157e308}) {
    const double back = std::strtod(hex_float(value).c_str(), nullptr);
    EXPECT_EQ(std::signbit(back), std::signbit(value));
    EXPECT_EQ(back, value);
  }
}

TEST_F(RunLogTest, ALineHasTheFixedFields) {
  { RunLog(folder_.string(), 0, false).step(record(1)); }
  EXPECT_EQ(content("log.jsonl"),
            R"({"step":1,"epoch":0,"loss":1.0,"loss_hex":"0x1p+0","lr":0.5,"grad_norm":2.0,"samples":32,"tokens":600,)"
            R"("seconds":{"total":1.0,"compute":0.5,"communication":0.25,"data":0.0,"optimizer":0.125,"other":0.125,"waiting":0.0625}})"
            "\n");
}

TEST_F(RunLogTest, OfFp16ItHasTheLossScaleToo) {
  StepRecord r = record(1);
  EXPECT_FALSE(to_json(r).contains("loss_scale"));
  r.loss_scale = 65'536;
  EXPECT_EQ(to_json(r).at("loss_scale"), 65'536);
}

TEST_F(RunLogTest, ALossThatIsNotFiniteIsNullButNamed) {
  StepRecord r = record(1);
  r.loss = std::numeric_limits<double>::quiet_NaN();
  r.grad_norm = std::numeric_limits<double>::infinity();
  const Json line = to_json(r);
  EXPECT_TRUE(line["loss"].is_null());
  EXPECT_TRUE(line["grad_norm"].is_null());
  EXPECT_THAT(line["loss_hex"].get<std::string>(), testing::HasSubstr("nan"));
  RunLog(folder_.string(), 0, true).step(r);  // events without the null values
  EXPECT_EQ(read_jsonl(path("log.jsonl")).size(), 1u);
}

TEST_F(RunLogTest, EachLineIsInTheFileAtOnce) {
  RunLog log(folder_.string(), 0, false);
  for (int64_t step = 1; step <= 3; ++step) {
    log.step(record(step));
    EXPECT_EQ(read_jsonl(path("log.jsonl")).size(), static_cast<size_t>(step));
  }
}

TEST_F(RunLogTest, AResumedRunHasTheLogsOfAnUninterruptedOne) {
  { RunLog log(folder_.string(), 0, false); take_steps(log, 1, 10); log.sync(); }
  const std::string steps = content("log.jsonl"), evaluations = content("eval.jsonl"), warnings = content("warnings.jsonl");
  EXPECT_EQ(read_jsonl(path("warnings.jsonl")).size(), 3u);
  for (int64_t at = 1; at <= 10; ++at) {
    { RunLog log(folder_.string(), at, false); take_steps(log, at + 1, 10); }
    EXPECT_EQ(content("log.jsonl"), steps) << "resumed at " << at;
    EXPECT_EQ(content("eval.jsonl"), evaluations) << "resumed at " << at;
    EXPECT_EQ(content("warnings.jsonl"), warnings) << "resumed at " << at;
  }
}

TEST_F(RunLogTest, CutsALineThatACrashLeftUnfinishedAtEveryByte) {
  { RunLog log(folder_.string(), 0, false); take_steps(log, 1, 3); }
  const std::string whole = content("log.jsonl");
  const size_t two_lines = whole.find('\n', whole.find('\n') + 1) + 1;
  for (size_t bytes = two_lines; bytes < whole.size(); ++bytes) {
    write("log.jsonl", whole.substr(0, bytes));
    { RunLog log(folder_.string(), 3, false); }
    EXPECT_EQ(content("log.jsonl"), whole.substr(0, two_lines)) << bytes;
  }
}

TEST_F(RunLogTest, ADamagedLineInTheMiddleCostsNothingElse) {
  write("log.jsonl", "{\"step\":1}\nnot JSON\n[]\n{\"step\":\"2\"}\n{\"step\":3}\n{\"step\":4}\n");
  { RunLog log(folder_.string(), 3, false); }
  EXPECT_EQ(content("log.jsonl"), "{\"step\":1}\nnot JSON\n[]\n{\"step\":\"2\"}\n{\"step\":3}\n");
}

TEST_F(RunLogTest, ANewRunEmptiesBothFiles) {
  { RunLog log(folder_.string(), 0, false); take_steps(log, 1, 4); }
  { RunLog log(folder_.string(), 0, false); }
  EXPECT_EQ(content("log.jsonl") + content("eval.jsonl"), "");
}

TEST_F(RunLogTest, FilesArePrivateAndLinksAreNotFollowed) {
  { RunLog log(folder_.string(), 0, false); }
  struct stat info {};
  ASSERT_EQ(::stat(path("log.jsonl").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777u, 0600u);
  write("elsewhere", "precious");
  std::filesystem::remove(path("eval.jsonl"));
  std::filesystem::create_symlink(path("elsewhere"), path("eval.jsonl"));
  EXPECT_THROW(RunLog(folder_.string(), 0, false), StorageError);
  EXPECT_EQ(content("elsewhere"), "precious");
  EXPECT_THROW(RunLog(path("no such folder"), 0, false), StorageError);
}

TEST(AppendAll, AFullDiskIsAStorageErrorThatNamesTheFile) {
  const int fd = open_append("/dev/full");
  try {
    append_all(fd, "x", "run/log.jsonl");
    ADD_FAILURE() << "wrote to a full disk";
  } catch (const StorageError& error) {
    EXPECT_STREQ(error.what(), "run/log.jsonl: cannot write: No space left on device");
  }
  ::close(fd);
}

TEST(ReadJsonl, AbsentFileIsEmpty) { EXPECT_TRUE(read_jsonl("/no/such/file").empty()); }

TEST_F(ExitTest, TheFirstRankWins) {
  std::vector<std::thread> ranks;
  std::atomic<int> winners{0}, winner{-1};
  for (int rank = 0; rank < 8; ++rank)
    ranks.emplace_back([&, rank] {
      if (!write_exit(folder_.string(), {7, "peer died", rank, "node", "train", 12})) return;
      ++winners;
      winner = rank;
    });
  for (auto& rank : ranks) rank.join();
  EXPECT_EQ(winners, 1);
  const Json json = Json::parse(content("exit.json"));
  EXPECT_EQ(json.dump(), Json({{"code", 7}, {"reason", "peer died"}, {"rank", winner.load()}, {"host", "node"}, {"phase", "train"}, {"step", 12}}).dump());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);  // no temporary file stays
}

TEST_F(ExitTest, AnEarlierOneIsCleared) {
  clear_exit(folder_.string());
  EXPECT_TRUE(write_exit(folder_.string(), {75, "asked to stop", 0, "a", "train", 3}));
  clear_exit(folder_.string());
  EXPECT_TRUE(write_exit(folder_.string(), {0, "complete", 0, "a", "report", 9}));
  EXPECT_EQ(Json::parse(content("exit.json")).at("step"), 9);
}

TEST_F(ExitTest, WhatKilledRanksLeftIsCleared) {
  for (const char* name : {"exit.json.rank-0", "exit.json.rank-12.tmp-0123456789abcdef", "exit.json.mine"}) write(name, "{");
  clear_exit(folder_.string());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
  EXPECT_EQ(content("exit.json.mine"), "{");
}

TEST_F(ExitTest, NeverThrows) {
  EXPECT_FALSE(write_exit(path("no such folder"), {1, "r", 0, "h", "init", 0}));
  EXPECT_TRUE(write_exit(folder_.string(), {1, "bad \xff byte\n\x1b[31m", 0, "h", "init", 0}));
  EXPECT_EQ(content("exit.json").find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace fmtrain
