// Which starts are refused because those before them got nowhere.
#include "runtime/checkpoint/restarts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>

#include "comm/thread_communicator.h"
#include "runtime/errors.h"
#include "tests/support/fail_files.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

class Restarts : public TemporaryFolder {
 protected:
  /// The exit code that `ranks` ranks would end with, 0: they may start.
  int start(int64_t step, bool resume = true, int ranks = 2, FileOps& files = posix_files()) {
    std::atomic<int> code{0}, thrown{0};
    run_ranks(ranks, [&](Communicator& comm) {
      try {
        count_restart(files, folder_.string(), comm, step, resume);
      } catch (const Error& error) {
        code = static_cast<int>(error.code());
        if (comm.rank() == 0) message_ = error.what();
        ++thrown;
      }
    });
    EXPECT_TRUE(thrown == 0 || thrown == ranks) << "all alike";
    return code;
  }
  std::string message_;
};

struct Case {
  const char* name;
  std::vector<int64_t> steps;  ///< that the starts go on from
  int refused;                 ///< starts at the end of the list that end with 93
};

TEST_F(Restarts, ThreeWithoutANewerCheckpointAreEnough) {
  const std::vector<Case> cases{
      {"a first start and three restarts", {0, 0, 0, 0}, 0},
      {"and one more", {0, 0, 0, 0, 0}, 1},
      {"refused again and again", {0, 0, 0, 0, 0, 0, 0}, 3},
      {"three restarts from 100", {0, 100, 100, 100}, 0},
      {"and one more", {0, 100, 100, 100, 100}, 1},
      {"progress in between", {0, 0, 0, 0, 10, 10, 10, 20, 20, 20, 30}, 0},
      {"back to an older one counts anew", {0, 20, 20, 20, 10, 10, 10}, 0},
  };
  for (const auto& c : cases) {
    remove_tree(posix_files(), path("restarts.json"));
    for (size_t i = 0; i < c.steps.size(); ++i)
      EXPECT_EQ(start(c.steps[i]), i + static_cast<size_t>(c.refused) >= c.steps.size() ? 93 : 0) << c.name << ", start " << i;
  }
}

TEST_F(Restarts, TheMessageSaysWhatToDo) {
  for (int i = 0; i < 5; ++i) start(0, true, 1);
  EXPECT_THAT(message_, testing::AllOf(testing::HasSubstr("3 restarts from step 0"),
                                       testing::HasSubstr("remove " + path("restarts.json"))));
  std::filesystem::remove(path("restarts.json"));
  EXPECT_EQ(start(0), 0);
}

TEST_F(Restarts, ANewRunInTheSameDirectoryCountsAnew) {
  for (int i = 0; i < 4; ++i) EXPECT_EQ(start(0), 0);
  EXPECT_EQ(start(0, false), 0);
  EXPECT_EQ(content("restarts.json"), "{\"step\":0,\"restarts\":0}\n");
  EXPECT_EQ(start(0), 0);
}

TEST_F(Restarts, AFileThatCannotBeUnderstoodIsNamed) {
  for (const char* text : {"", "{", "[]", "{\"step\":-1,\"restarts\":1}", "{\"step\":0}", "{\"step\":0,\"restarts\":\"x\"}"}) {
    write("restarts.json", text);
    testing::internal::CaptureStderr();
    EXPECT_EQ(start(0), 0) << text;
    EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr(path("restarts.json"))) << text;
  }
  write("restarts.json", R"({"step":0,"restarts":18446744073709551615})");
  EXPECT_EQ(start(0), 93);
}

/// Every call fails once: an error on all ranks, or a start that was counted, and the old count or the new one on disk.
TEST_F(Restarts, FailingCalls) {
  for (int64_t call = 1, clean = 0; !clean; ++call) {
    ASSERT_LT(call, 50);
    write("restarts.json", R"({"step":7,"restarts":1})");
    FailFiles files;
    files.fail_at(call, EIO);
    testing::internal::CaptureStderr();
    const int code = start(7, true, 1, files);
    testing::internal::GetCapturedStderr();
    clean = !files.failed();
    EXPECT_TRUE(code == 0 || code == static_cast<int>(ExitCode::kStorage)) << call;
    EXPECT_EQ(files.open_files(), 0) << call;
    std::vector<std::string> names;
    posix_files().list(folder_.string(), &names);
    EXPECT_LE(names.size(), 1u) << call;
    if (clean) {
      EXPECT_EQ(content("restarts.json"), "{\"step\":7,\"restarts\":2}\n");
    }
  }
}

}  // namespace
}  // namespace fmtrain
