// Against seqeval, scikit-learn and the published results of the WNUT-17 shared task.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "runtime/metrics/classification.h"
#include "runtime/metrics/report_text.h"
#include "runtime/metrics/tag_columns.h"
#include "runtime/metrics/tagging.h"

namespace fmtrain {
namespace {

const std::string kFolder = FMTRAIN_SOURCE_DIR "/tests/golden/metrics/";

Json golden(const std::string& name) {
  std::ifstream file(kFolder + name);
  return Json::parse(file);
}

const std::vector<std::string> kLabels{"O", "B-alpha", "I-alpha", "B-creative-work", "I-creative-work", "B-x", "I-x"};

std::vector<std::vector<int32_t>> sentences(const std::string& text) {
  static const std::string codes = ".AaBbCc";
  std::vector<std::vector<int32_t>> result(1);
  for (const char c : text) {
    if (c == ' ') result.emplace_back();
    else result.back().push_back(static_cast<int32_t>(codes.find(c)));
  }
  return result;
}

Json scored(const Json& entry) {
  const auto gold = sentences(entry.at("gold")), predicted = sentences(entry.at("predicted"));
  TaggingCounts counts(kLabels, static_cast<int64_t>(gold.size()));
  for (size_t i = 0; i < gold.size(); ++i) counts.add_text(static_cast<int64_t>(i), gold[i], predicted[i]);
  return metrics_of(counts, 0, 1);
}

void expect_averages(const Json& golden_scores, const Json& averages) {
  size_t at = 0;
  for (const Json& row : averages)
    for (const char* column : {"precision", "recall", "f1"})
      EXPECT_NEAR(row.at(column).get<double>(), golden_scores.at(at++).get<double>(), 1e-12)
          << row.at("average") << " " << column;
}

TEST(GoldenTagging, ThousandRandomSentencesAgreeWithSeqevalAndScikitLearn) {
  const Json cases = golden("tagging.json");
  ASSERT_EQ(cases.size(), 250u);  // of four sentences
  for (const Json& entry : cases) {
    SCOPED_TRACE(entry.at("gold").get<std::string>() + " | " + entry.at("predicted").get<std::string>());
    const Json evaluation = scored(entry);
    expect_averages(entry.at("strict").at("scores"), evaluation.at("averages"));
    expect_averages(entry.at("lenient").at("scores"), evaluation.at("lenient").at("averages"));
    size_t at = 0;
    for (const char* name : {"accuracy", "token_macro_f1", "token_weighted_f1", "token_precision", "token_recall", "token_f1"})
      EXPECT_NEAR(evaluation.at("metrics").at(name).get<double>(), entry.at("words").at(at++).get<double>(), 1e-12) << name;
  }
}

TEST(GoldenTagging, TablesAreSeqevalsAndScikitLearnsByteForByte) {
  int tables = 0;
  for (const Json& entry : golden("tagging.json")) {
    if (!entry.contains("words_report")) continue;
    SCOPED_TRACE(entry.at("gold").get<std::string>() + " | " + entry.at("predicted").get<std::string>());
    const Json evaluation = scored(entry), &lenient = evaluation.at("lenient");
    EXPECT_EQ(report_table(evaluation.at("per_label"), evaluation.at("averages")), entry.at("strict").at("report"));
    EXPECT_EQ(report_table(lenient.at("per_label"), lenient.at("averages")), entry.at("lenient").at("report"));
    const auto words = entry.at("words_report").get<std::string>();
    // scikit-learn sorts labels by name; ours keep the model's order. So: the same lines.
    std::multiset<std::string> lines, golden_lines;
    std::istringstream ours(evaluation_text(evaluation)), theirs(words);
    for (std::string line; std::getline(theirs, line);) golden_lines.insert(line);
    for (std::string line; std::getline(ours, line) && line != "Words";) continue;
    for (std::string line; lines.size() < golden_lines.size() && std::getline(ours, line);) lines.insert(line);
    EXPECT_EQ(lines, golden_lines);
    ++tables;
  }
  EXPECT_EQ(tables, 40);
}

Json classified(const Json& entry) {
  const auto gold = entry.at("gold").get<std::string>(), predicted = entry.at("predicted").get<std::string>();
  ClassCounts counts({"0", "1", "2", "3", "4", "5"}, static_cast<int64_t>(gold.size()));
  for (size_t i = 0; i < gold.size(); ++i) counts.add_text(static_cast<int64_t>(i), gold[i] - '0', predicted[i] - '0');
  return metrics_of(counts, 0, 1);
}

TEST(GoldenClasses, ThousandRandomLabelSetsAgreeWithScikitLearn) {
  const Json cases = golden("classes.json");
  ASSERT_EQ(cases.size(), 1000u);
  int tables = 0;
  for (const Json& entry : cases) {
    SCOPED_TRACE(entry.at("gold").get<std::string>() + " | " + entry.at("predicted").get<std::string>());
    const Json evaluation = classified(entry);
    size_t at = 0;
    for (const char* name : {"accuracy", "precision", "recall", "macro_f1", "weighted_precision", "weighted_recall",
                             "weighted_f1", "balanced_accuracy", "mcc", "kappa"}) {
      const Json& expected = entry.at("values").at(at++);
      const Json& value = evaluation.at("metrics").at(name);
      ASSERT_EQ(value.is_null(), expected.is_null()) << name;
      if (value.is_null()) continue;
      EXPECT_NEAR(value.get<double>(), expected.get<double>(), 1e-12) << name;
    }
    if (!entry.contains("report")) continue;
    EXPECT_EQ(report_table(evaluation.at("per_label"), evaluation.at("averages")), entry.at("report"));
    ++tables;
  }
  EXPECT_EQ(tables, 19);
}

/// The file of one system as people have it: word, gold, predicted, CRLF.
std::string submission(size_t system) {
  std::ifstream file(kFolder + "wnut17.tags");
  std::string content;
  for (std::string line; std::getline(file, line);) {
    std::istringstream columns(line);
    std::vector<std::string> tags{std::istream_iterator<std::string>(columns), {}};
    if (!tags.empty()) content += "x\t" + tags.front() + "\t" + (tags.size() == 1 ? tags[0] : tags.at(system + 1));
    content += "\r\n";
  }
  return content;
}

/// Two digits of a percentage, as published.
double rounded(const Json& fraction) { return std::round(fraction.get<double>() * 1e4) / 100; }

TEST(GoldenWnut17, SixSubmissionsScoreWhatSeqevalAndTheSharedTaskGive) {
  struct Row {
    const char* system;
    double strict, lenient;  // lenient: the task's own scores
  };
  const std::array<Row, 6> rows{{{"uh_ritual", 41.86, 41.86}, {"spinningbytes", 41.31, 40.78}, {"sjtu_adapt", 40.42, 40.42},
                                 {"flytxt", 38.35, 38.35}, {"mic-cis", 37.30, 37.06}, {"drexel_cci", 26.30, 26.30}}};
  for (size_t i = 0; i < rows.size(); ++i) {
    SCOPED_TRACE(rows[i].system);
    const Json metrics = metrics_of(score_tag_columns(submission(i), rows[i].system), 0, 1).at("metrics");
    EXPECT_EQ(rounded(metrics.at("f1")), rows[i].strict);
    EXPECT_EQ(rounded(metrics.at("lenient_f1")), rows[i].lenient);
    EXPECT_EQ(metrics.at("words"), 23394);
    EXPECT_EQ(metrics.at("texts"), 1287);
    EXPECT_EQ(metrics.at("entities"), 1079);
    if (i != 0) continue;
    EXPECT_EQ(rounded(metrics.at("precision")), 57.54);
    EXPECT_EQ(rounded(metrics.at("recall")), 32.90);
  }
}

}  // namespace
}  // namespace fmtrain
