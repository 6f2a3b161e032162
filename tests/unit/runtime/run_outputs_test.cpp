// What several ranks do together when they write a run's results.
#include <gmock/gmock.h>

#include <array>

#include "comm/thread_communicator.h"
#include "runtime/errors.h"
#include "runtime/run_outputs.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;

class RunOutputsTest : public TemporaryFolder {};

/// Rank 0 alone sees that the lock is another's; a rank that it left would wait for it, and then take its end for a fault.
TEST_F(RunOutputsTest, AllRanksLeaveWhenTheRunWasTakenOver) {
  Config config;
  config.run.dir = folder_.string();
  config.report.progress = Progress::kOff;
  std::array<std::string, 2> said;
  run_ranks(2, [&](Communicator& comm) {
    const RunOptions options;
    RunOutputs outputs(config, comm, options);
    comm.barrier();
    if (comm.rank() == 0) write("lock.json", "another's\n");
    RunInputs inputs;
    try {
      outputs.write_model(inputs, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kLocked);
      said[static_cast<size_t>(comm.rank())] = error.what();
    }
    comm.barrier();
  });
  EXPECT_THAT(said[0], HasSubstr(path("lock.json")));
  EXPECT_THAT(said[1], AllOf(HasSubstr(folder_.string()), HasSubstr("rank 0 names")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "model"));
}

/// As a kill leaves them: the next start removes what it would replace itself, also where it goes on with a run, and nothing else.
TEST_F(RunOutputsTest, WhatAKilledStartLeftHalfWrittenIsRemoved) {
  const std::string random = ".tmp-0123456789abcdef";
  const std::vector<std::string> ours{"config.yaml", "before.json", "restarts.json", "report.html", "exit.json.rank-1", "failure.txt"};
  for (const auto& name : ours) write(name + random, "");
  write("notes.txt" + random, "mine");
  Config config;
  config.run.dir = folder_.string();
  config.report.progress = Progress::kOff;
  run_ranks(2, [&](Communicator& comm) {
    RunOptions options;
    options.resume = true;
    RunOutputs outputs(config, comm, options);
  });
  for (const auto& name : ours) EXPECT_FALSE(std::filesystem::exists(path(name + random))) << name;
  EXPECT_EQ(content("notes.txt" + random), "mine");
}

TEST(PrecisionWarning, NamesAFasterOne) {
  const std::string with = "x86-64 avx2 avx512f avx512_bf16, AMD EPYC", without = "x86-64 avx2, AMD EPYC";
  EXPECT_EQ(precision_warning(Precision::kFp32, without), "");
  EXPECT_EQ(precision_warning(Precision::kBf16, with), "");
  EXPECT_EQ(precision_warning(Precision::kBf16, "other"), "");
  EXPECT_THAT(precision_warning(Precision::kBf16, without), testing::HasSubstr("bf16 gains nothing on this processor"));
  EXPECT_THAT(precision_warning(Precision::kFp16, with), testing::HasSubstr("bf16 is faster"));
  EXPECT_THAT(precision_warning(Precision::kFp16, without), testing::HasSubstr("fp32 is faster here"));
}

}  // namespace
}  // namespace fmtrain
