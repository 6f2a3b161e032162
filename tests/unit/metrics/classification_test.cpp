#include "runtime/metrics/classification.h"

#include <gtest/gtest.h>

#include "runtime/errors.h"
#include "runtime/metrics/metric.h"
#include "runtime/metrics/report_text.h"

namespace fmtrain {
namespace {

ClassCounts counted(const std::vector<int32_t>& gold, const std::vector<int32_t>& predicted,
                    std::vector<std::string> labels = {"0", "1", "2"}) {
  ClassCounts counts(std::move(labels), static_cast<int64_t>(gold.size()));
  for (size_t i = 0; i < gold.size(); ++i) counts.add_text(static_cast<int64_t>(i), gold[i], predicted[i]);
  return counts;
}

TEST(Classes, TableIsScikitLearns) {
  const Json evaluation = metrics_of(counted({0, 1, 2, 2, 2, 1}, {0, 0, 2, 2, 1, 1}), 0, 1);
  EXPECT_EQ(report_table(evaluation.at("per_label"), evaluation.at("averages")),
            "              precision    recall  f1-score   support\n\n"
            "           0       0.50      1.00      0.67         1\n"
            "           1       0.50      0.50      0.50         2\n"
            "           2       1.00      0.67      0.80         3\n\n"
            "    accuracy                           0.67         6\n"
            "   macro avg       0.67      0.72      0.66         6\n"
            "weighted avg       0.75      0.67      0.68         6\n");
  EXPECT_NEAR(metric_value(evaluation, "macro_f1"), (2.0 / 3 + 0.5 + 0.8) / 3, 1e-15);  // not the F1 of the means, .6933
  EXPECT_EQ(metric_value(evaluation, "auto"), 4.0 / 6);
}

TEST(Classes, LongNamesWidenTheTableByCodePoints) {
  const Json evaluation = metrics_of(counted({0}, {0}, {"überraschend-lang"}), 0, 1);
  const std::string text = report_table(evaluation.at("per_label"), evaluation.at("averages"));
  EXPECT_EQ(text.substr(0, text.find('\n')), std::string(17, ' ') + "  precision    recall  f1-score   support");
  EXPECT_NE(text.find("\nüberraschend-lang       1.00"), std::string::npos);
  EXPECT_NE(text.find("\n        macro avg       1.00"), std::string::npos);
}

TEST(Classes, ClassesThatOccurNowhereDoNotPullTheMeanDown) {
  const Json evaluation = metrics_of(counted({0, 1}, {0, 1}), 0, 1);
  EXPECT_EQ(evaluation.at("per_label").size(), 2u);
  EXPECT_EQ(metric_value(evaluation, "macro_f1"), 1.0);
}

TEST(Classes, AClassThatIsOnlyPredictedCountsAsZero) {
  const Json evaluation = metrics_of(counted({0, 0}, {0, 2}), 0, 1);
  EXPECT_EQ(metric_value(evaluation, "macro_f1"), (2.0 / 3) / 2);
  EXPECT_EQ(evaluation.at("metrics").at("undefined"), 1);
  EXPECT_EQ(
      evaluation.at("per_label")[1],
      Json::parse(R"({"label": "2", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0, "predicted": 1, "correct": 0})"));
}

TEST(Classes, AConstantPredictionHasNoCorrelation) {
  const Json metrics = metrics_of(counted({0, 1, 2, 2}, {2, 2, 2, 2}), 0, 1).at("metrics");
  EXPECT_EQ(metrics.at("mcc"), 0.0);
  EXPECT_EQ(metrics.at("kappa"), 0.0);
  EXPECT_EQ(metrics.at("accuracy"), 0.5);
  EXPECT_EQ(metrics.at("balanced_accuracy"), 1.0 / 3);
}

TEST(Classes, KappaOfOneClassIsNotDefined) {
  const Json metrics = metrics_of(counted({1, 1, 1}, {1, 1, 1}), 0, 1).at("metrics");
  EXPECT_TRUE(metrics.at("kappa").is_null());
  EXPECT_EQ(metrics.at("f1"), 1.0);
}

TEST(Classes, IsTheSameForEveryRankCountToTheLastBit) {
  std::vector<int32_t> gold, predicted;
  for (int32_t i = 0; i < 301; ++i) {
    gold.push_back(i % 3);
    predicted.push_back(i * i % 3);
  }
  const std::string whole = metrics_of(counted(gold, predicted), 100, 2).dump();
  for (const size_t ranks : {2u, 3u, 8u}) {
    ClassCounts sum({"0", "1", "2"}, 301);
    for (size_t rank = 0; rank < ranks; ++rank) {
      ClassCounts part({"0", "1", "2"}, 301);
      for (size_t i = rank; i < gold.size(); i += ranks) part.add_text(static_cast<int64_t>(i), gold[i], predicted[i]);
      for (size_t v = 0; v < sum.values().size(); ++v) sum.values()[v] += part.values()[v];
    }
    EXPECT_EQ(metrics_of(sum, 100, 2).dump(), whole) << ranks;
  }
}

TEST(Classes, FindsATextThatTwoRanksCounted) {
  ClassCounts one = counted({2}, {1}), two = counted({2}, {1});
  for (size_t v = 0; v < 2; ++v) one.values()[v] += two.values()[v];
  EXPECT_THROW(metrics_of(one, 0, 1), std::logic_error);  // 3 + 3 is no label
}

TEST(Classes, RefusesWhatBreaksTheCount) {
  ClassCounts counts({"a", "b"}, 2);
  counts.add_text(0, 0, 1);
  EXPECT_THROW(counts.add_text(0, 0, 1), std::logic_error);
  EXPECT_THROW(counts.add_text(2, 0, 1), std::logic_error);
  EXPECT_THROW(counts.add_text(1, 2, 1), std::logic_error);
  EXPECT_THROW(counts.add_text(1, 0, -1), std::logic_error);
  EXPECT_THROW(ClassCounts({}, 1), DataError);
  EXPECT_THROW(ClassCounts({"a", "a"}, 1), DataError);
  EXPECT_EQ(metrics_of(counts, 0, 1).at("metrics").at("texts"), 1);  // the other was never counted
}

TEST(Classes, TextShowsIntervals) {
  const std::string text = evaluation_text(metrics_of(counted({0, 1, 2, 2, 2, 1}, {0, 0, 2, 2, 1, 1}), 50, 1));
  EXPECT_EQ(text.rfind("Accuracy 66.67 % (95 %: ", 0), 0u) << text;
}

}  // namespace
}  // namespace fmtrain
