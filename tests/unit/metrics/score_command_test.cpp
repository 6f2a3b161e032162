// The program itself: what `fmtrain score` prints and how it ends.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "runtime/json.h"

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

/// A folder of its own for each test.
class ScoreCommand : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("score_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string file(const std::string& content) const {
    std::ofstream(folder_ / "in.conll", std::ios::binary) << content;
    return (folder_ / "in.conll").string();
  }
  std::filesystem::path folder_;
};

const std::string kScore = std::string(FMTRAIN_BINARY) + " score ";
const std::string kText = "John B-PER I-PER\nSmith I-PER I-PER\nof O O\nRome B-LOC B-LOC\n";

TEST_F(ScoreCommand, PrintsConllevalThenSeqevalsTable) {
  const Result strict = run(kScore + "--bootstrap 0 " + file(kText)), lenient = run(kScore + "--lenient " + file(kText));
  EXPECT_EQ(strict.code, 0);
  EXPECT_EQ(strict.text,
            "processed 4 tokens with 2 phrases; found: 1 phrases; correct: 1.\n"
            "accuracy:  75.00%; precision: 100.00%; recall:  50.00%; FB1:  66.67\n"
            "              LOC: precision: 100.00%; recall: 100.00%; FB1: 100.00  1\n"
            "              PER: precision:   0.00%; recall:   0.00%; FB1:   0.00  0\n"
            "\n"
            "              precision    recall  f1-score   support\n"
            "\n"
            "         LOC       1.00      1.00      1.00         1\n"
            "         PER       0.00      0.00      0.00         1\n"
            "\n"
            "   micro avg       1.00      0.50      0.67         2\n"
            "   macro avg       0.50      0.50      0.50         2\n"
            "weighted avg       0.50      0.50      0.50         2\n"
            "\n"
            "F1 strict 66.67 %, lenient 100.00 %\n");
  EXPECT_THAT(lenient.text, testing::StartsWith("processed 4 tokens with 2 phrases; found: 2 phrases; correct: 2.\n"));
  EXPECT_THAT(lenient.text, testing::EndsWith("\nF1 strict 66.67 % (95 %: 66.67 to 66.67), lenient 100.00 %\n"));
}

TEST_F(ScoreCommand, GivesJsonAndReadsStandardInput) {
  const Result piped = run(kScore + "--json --bootstrap 20 - < " + file(kText));
  ASSERT_EQ(piped.code, 0) << piped.text;
  const Json json = Json::parse(piped.text);
  EXPECT_EQ(json.at("metrics").at("f1"), 2.0 / 3);
  EXPECT_EQ(json.at("metrics").at("lenient_f1"), 1.0);
  EXPECT_EQ(json.at("intervals").at("resamples"), 20);
  EXPECT_EQ(run(kScore + "--json --bootstrap 20 " + file(kText)).text, piped.text);
}

TEST_F(ScoreCommand, EndsWithOneLineAndItsCode) {
  const std::string bad = file("a O O\nb O\n");
  const Result broken = run(kScore + bad), missing = run(kScore + "/nowhere/x");
  EXPECT_EQ(broken.code, 3);
  EXPECT_THAT(broken.text, testing::StartsWith("fmtrain: " + bad + ":2: "));
  EXPECT_NE(missing.code, 0);
  EXPECT_THAT(missing.text, testing::HasSubstr("/nowhere/x"));
  EXPECT_EQ(run(kScore).code, 2);
}

}  // namespace
}  // namespace fmtrain
