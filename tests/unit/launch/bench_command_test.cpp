// `fmtrain bench`: each part runs on something tiny, its JSON has what its readers take from it, and wrong input gives a plain error.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>

#include "runtime/errors.h"
#include "runtime/json.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class BenchCommand : public TemporaryFolder {
 protected:
  /// Exit code of `fmtrain bench ...` in the test's folder; what it prints on stderr stays in err().
  int bench(const std::string& arguments) const {
    const std::string command = "cd '" + path("") + "' && FMTRAIN_HOME=$PWD/home TMPDIR=$PWD OMP_NUM_THREADS=1 timeout -k 5 60 '" + FMTRAIN_BINARY + "' bench " +
                                arguments + " > out 2> err";
    return WEXITSTATUS(std::system(command.c_str()));
  }
  std::string err() const { return content("err"); }

  /// Runs one round of `name` and gives its result.
  Json result(const std::string& name, const std::string& arguments) const {
    const int code = bench(name + " --rounds 1 --json found.json " + arguments);
    EXPECT_EQ(code, 0) << err();
    if (code != 0) return {};
    const Json all = parse_json(content("found.json"), {});
    EXPECT_EQ(all.at("schema"), "fmtrain.bench/1");
    EXPECT_EQ(all.at("bench"), name);
    EXPECT_GE(all.at("machine").at("cores"), 1);
    EXPECT_TRUE(all.at("machine").at("versions").contains("torch"));
    return all.at("result");
  }

  /// One line that says `what`, and the exit code.
  void expect_refused(const std::string& arguments, ExitCode code, const std::string& what) const {
    EXPECT_EQ(bench(arguments), static_cast<int>(code)) << arguments;
    EXPECT_THAT(err(), HasSubstr(what)) << arguments;
    EXPECT_THAT(err(), testing::Not(HasSubstr("internal error"))) << arguments;
  }

  std::string source(const std::string& file) const { return std::string(FMTRAIN_SOURCE_DIR) + "/" + file; }
};

void expect_spread(const Json& s) {
  EXPECT_GT(s.at("median").get<double>(), 0);
  EXPECT_LE(s.at("min"), s.at("median"));
  EXPECT_GE(s.at("max"), s.at("median"));
}

TEST_F(BenchCommand, Io) {
  const Json found = result("io", "--rows 64");
  ASSERT_EQ(found.at("arms").size(), 4u);
  for (const auto& arm : found.at("arms")) {
    EXPECT_EQ(arm.at("rows"), 64);
    expect_spread(arm.at("rows_per_second"));
    expect_spread(arm.at("copies_per_second"));
  }
  for (const auto& entry : fs::directory_iterator(path(""))) EXPECT_NE(entry.path().extension(), ".h5");  // its files are gone
  expect_refused("io --rows 64 --folder nowhere", ExitCode::kStorage, "nowhere");
  expect_refused("io --rows 1", ExitCode::kConfig, "--rows");
}

TEST_F(BenchCommand, Tokenizer) {
  const Json found = result("tokenizer", source("configs/tiny_model") + " --megabytes 1 --threads 1 2");
  EXPECT_GT(found.at("tokens"), 1000);
  ASSERT_EQ(found.at("arms").size(), 2u);
  EXPECT_EQ(found.at("arms")[1].at("threads"), 2);
  for (const auto& arm : found.at("arms"))
    for (const char* name : {"cold_mb_per_second", "warm_mb_per_second"}) expect_spread(arm.at(name));
  expect_refused("tokenizer nowhere", ExitCode::kConfig, "nowhere");
}

TEST_F(BenchCommand, Checkpoint) {
  const Json found = result("checkpoint", "--parameters 2000000 --dir . --work 0.1");
  EXPECT_GE(found.at("bytes"), 24'000'000);  // 12 bytes a parameter
  ASSERT_EQ(found.at("rounds").size(), 1u);
  for (const char* name : {"stall_s", "lost_s", "persist_s", "verified_s", "load_s", "raw_write_s", "raw_read_s"}) EXPECT_GT(found.at("rounds")[0].at(name), 0) << name;
  expect_refused("checkpoint --dir nowhere", ExitCode::kConfig, "nowhere");
}

TEST_F(BenchCommand, Step) {
  const Json found = result("step", "--length 8 --samples 2 --profile");
  EXPECT_EQ(found.at("tokens").get<int64_t>(), 16);
  EXPECT_EQ(found.at("samples"), 2);
  ASSERT_EQ(found.at("arms").size(), 2u);
  for (const auto& arm : found.at("arms")) {
    expect_spread(arm.at("seconds"));
    EXPECT_GT(arm.at("gflops"), 0);
    EXPECT_FALSE(arm.at("operations").empty());
  }
  expect_refused("step --size giant", ExitCode::kConfig, "giant");
}

TEST_F(BenchCommand, Startup) {
  const Json found = result("startup", source("configs/tiny_cpu.yaml") + " --ranks 1");
  EXPECT_EQ(found.at("ranks"), 1);
  EXPECT_EQ(found.at("phases").size(), 7u);
  expect_spread(found.at("whole"));
  expect_refused("startup nowhere.yaml", ExitCode::kConfig, "nowhere.yaml");
  expect_refused("startup " + source("configs/tiny_cpu.yaml") + " --mpirun nowhere", ExitCode::kConfig, "nowhere");
}

}  // namespace
}  // namespace fmtrain
