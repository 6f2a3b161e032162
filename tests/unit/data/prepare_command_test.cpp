// The program itself: fmtrain prepare, its exit codes and what it leaves behind.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "runtime/data/dataset_file.h"
#include "runtime/json.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/data/malformed.h"
#include "tests/unit/text/small_tokenizer.h"

namespace fmtrain {
namespace {

struct Result {
  int code = -1;
  std::string text;  ///< stdout and stderr
};

Result run(const std::string& command) {
  Result result;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  char block[4096];
  while (const size_t n = fread(block, 1, sizeof block, pipe)) result.text.append(block, n);
  result.code = WEXITSTATUS(pclose(pipe));
  return result;
}

class PrepareCommand : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    small_tokenizer(folder_ / "model");
    setenv("FMTRAIN_HOME", path("home").c_str(), 1);  // for the program
  }
  std::string command(const std::string& input, const std::string& output, const std::string& more = "") const {
    return std::string("timeout -k 5 30 ") + FMTRAIN_BINARY + " prepare --model " + path("model") + " " + path(input) + " -o " +
           path(output) + " " + more;
  }
  std::vector<std::string> files(const std::string& folder = "") const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / folder)) names.push_back(entry.path().filename());
    return names;
  }
};

bool has_default_options(const Malformed& file) {
  const PrepareOptions o = options_for(file), d;
  return o.labels.empty() && o.format == d.format && o.max_length == d.max_length && o.columns.word == d.columns.word &&
         o.columns.tag == d.columns.tag;
}

TEST_F(PrepareCommand, MalformedInputIsExitThree) {
  int tried = 0, seen = 0;
  for (const auto& file : malformed_files()) {
    if (!has_default_options(file) || ++seen % 4 != 0) continue;
    ++tried;
    write(file.name, file.content);
    const bool tagging = file.name.ends_with(".conll");
    const Result r = run(command(file.name, "out.h5",
                                 std::string("--split train --task ") + (tagging ? "token" : "sequence") + "-classification"));
    std::string expected = "fmtrain: " + file.message + "\n";
    expected.replace(expected.find('@'), 1, path(file.name));
    EXPECT_EQ(r.code, 3) << file.message;
    EXPECT_EQ(r.text, expected);
    EXPECT_THAT(files(), testing::UnorderedElementsAre("model", file.name));
    std::filesystem::remove(path(file.name));
  }
  EXPECT_GE(tried, 12);
}

TEST_F(PrepareCommand, WritesAndReports) {
  write("train.conll", "ab\tB-X\nc\tO\n\nd\tO\n");
  write("dev.conll", "abcdef\tO\ng\tI-X\n");
  const Result train = run(command("train.conll", "train.h5"));
  EXPECT_EQ(train.code, 0);
  EXPECT_EQ(train.text, "prepared    " + path("train.h5") + ": 2 texts, 2 samples, 8 tokens, 3 labels\n");
  const Result dev =
      run(command("dev.conll", "dev.h5", "--max-length 4 --overlong truncate --json --labels-of " + path("train.h5")));
  ASSERT_EQ(dev.code, 0) << dev.text;
  const Json facts = Json::parse(dev.text);
  EXPECT_EQ(facts.at("texts"), 1);
  EXPECT_EQ(facts.at("tokens"), 4);
  EXPECT_EQ(facts.at("truncated_texts"), 1);
  EXPECT_EQ(facts.at("lost_words"), 1);
  EXPECT_EQ(facts.at("labels"), Json::array({"O", "B-X", "I-X"}));
  EXPECT_THAT(read_dataset_file(path("dev.h5")).word_gold, testing::ElementsAre(0, 1));

  write("other.conll", "a\tO\nb\tB-Y\n");
  const Result other = run(command("other.conll", "other.h5", "--labels-of " + path("train.h5")));
  EXPECT_EQ(other.code, 3);
  EXPECT_EQ(other.text,
            "fmtrain: " + path("other.conll") + ":2: label \"B-Y\" is not one of the 3 labels of the training set\n");
  EXPECT_FALSE(std::filesystem::exists(path("other.h5")));
}

/// A mutant of a file in HDF5's older format that ends HDF5 1.10.8 with a segmentation fault; other versions may refuse it.
TEST_F(PrepareCommand, AFileThatCrashesTheLibraryIsExitThree) {
  write("dev.conll", "a\tO\n");
  const std::string bad = std::string(FMTRAIN_SOURCE_DIR) + "/tests/unit/data/crashes_hdf5_1_10.h5";
  const Result r = run(command("dev.conll", "dev.h5", "--labels-of " + bad));
  EXPECT_EQ(r.code, 3) << r.text;
  EXPECT_THAT(r.text, testing::StartsWith("fmtrain: " + bad + ": "));
  EXPECT_FALSE(std::filesystem::exists(path("dev.h5")));
}

TEST_F(PrepareCommand, NoPlaceToWriteIsExitFive) {
  write("train.conll", "a\tO\n");
  const Result r = run(command("train.conll", "nowhere/out.h5"));
  EXPECT_EQ(r.code, 5);
  EXPECT_THAT(r.text, testing::EndsWith("cannot create: No such file or directory\n"));
}

/// pitfall of shared file systems: a lock of somebody else, and a variable in the environment that asks for locks.
TEST_F(PrepareCommand, ReadsAFileThatAnotherProcessHasLocked) {
  write("train.conll", "ab\tB-X\n");
  ASSERT_EQ(run(command("train.conll", "train.h5")).code, 0);
  const int fd = open(path("train.h5").c_str(), O_RDWR);
  ASSERT_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
  std::string four = "export HDF5_USE_FILE_LOCKING=TRUE; for i in 1 2 3 4; do (";
  four += command("train.conll", "out$i.h5", "--labels-of " + path("train.h5")) + "; echo exit $?) & done; wait";
  const Result r = run(four);
  size_t successes = 0;
  for (size_t at = 0; (at = r.text.find("exit 0", at)) != std::string::npos; ++at) ++successes;
  EXPECT_EQ(successes, 4u) << r.text;
  close(fd);
}

TEST_F(PrepareCommand, TwoRunsFillTheCacheAtOnce) {
  const std::string data = std::string(FMTRAIN_SOURCE_DIR) + "/data/wnut17/", config = path("run.yaml");
  std::filesystem::copy_file(std::string(FMTRAIN_SOURCE_DIR) + "/configs/tiny_model/config.json", path("model/config.json"));
  write("run.yaml", "model: {path: " + path("model") + ", task: token-classification, init: random}\ndata: {train: " + data +
                        "train.conll, validation: " + data + "dev.conll}\n");
  const std::string one = std::string("timeout -k 5 60 ") + FMTRAIN_BINARY + " prepare " + config;
  const Result both = run("(" + one + "; echo exit $?) & (" + one + "; echo exit $?); wait");
  size_t successes = 0;
  for (size_t at = 0; (at = both.text.find("exit 0", at)) != std::string::npos; ++at) ++successes;
  EXPECT_EQ(successes, 2u) << both.text;
  ASSERT_EQ(files("home/data").size(), 2u);
  std::vector<int64_t> texts;
  for (const auto& file : files("home/data")) texts.push_back(read_dataset_file(path("home/data/" + file)).info.texts);
  EXPECT_THAT(texts, testing::UnorderedElementsAre(3394, 1009));
}

}  // namespace
}  // namespace fmtrain
