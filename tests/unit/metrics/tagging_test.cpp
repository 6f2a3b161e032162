#include "runtime/metrics/tagging.h"

#include <gtest/gtest.h>

#include <random>

#include "runtime/errors.h"
#include "runtime/metrics/metric.h"
#include "runtime/metrics/report_text.h"

namespace fmtrain {
namespace {

const std::vector<std::string> kLabels{"O", "B-PER", "I-PER", "B-LOC", "I-LOC"};
enum : int32_t { kO, kBPer, kIPer, kBLoc, kILoc };
using Tags = std::vector<int32_t>;

TEST(TagSet, StrictNeedsABeginAndLenientDoesNot) {
  const TagSet tags(kLabels);
  const int32_t loc = 0, per = 1;  // types are sorted
  const Tags text{kIPer, kBPer, kIPer, kILoc, kILoc, kO, kBLoc, kBLoc, kIPer};
  EXPECT_EQ(tags.entities(text, EntityMode::kStrict), (std::vector<Entity>{{per, 1, 3}, {loc, 6, 7}, {loc, 7, 8}}));
  EXPECT_EQ(tags.entities(text, EntityMode::kLenient),
            (std::vector<Entity>{{per, 0, 1}, {per, 1, 3}, {loc, 3, 5}, {loc, 6, 7}, {loc, 7, 8}, {per, 8, 9}}));
}

TEST(TagSet, AStrictEntityEndsAtAnotherTypeAndIsNotTakenUpAgain) {
  const TagSet tags(kLabels);
  EXPECT_EQ(tags.entities(Tags{kBPer, kILoc, kIPer}, EntityMode::kStrict), (std::vector<Entity>{{1, 0, 1}}));
}

TEST(TagSet, RefusesNamesThatAreNotIob2) {
  for (const char* bad : {"", "B", "B-", "S-PER", "b-PER", "PER", "o", "OO", "BPER"})
    EXPECT_THROW(TagSet({"O", bad}), DataError) << bad;
  EXPECT_THROW(TagSet({"O", "O"}), DataError);
  std::vector<std::string> many;
  for (int i = 0; i <= 1000; ++i) many.push_back("B-" + std::to_string(i));
  EXPECT_THROW(TagSet{many}, DataError);
}

TEST(TagSet, TypeIsAllAfterTheFirstDash) {
  EXPECT_EQ(TagSet({"B-creative-work"}).types(), std::vector<std::string>{"creative-work"});
}

Json one_text(const Tags& gold, const Tags& predicted, int64_t resamples = 0) {
  TaggingCounts counts(kLabels, 1);
  counts.add_text(0, gold, predicted);
  return metrics_of(counts, resamples, 1);
}

TEST(Tagging, DiffersBetweenModesWhereOnlyTheBeginIsWrong) {
  const Json metrics = one_text({kBPer, kIPer}, {kIPer, kIPer}).at("metrics");
  EXPECT_EQ(metrics.at("f1"), 0.0);
  EXPECT_EQ(metrics.at("lenient_f1"), 1.0);
  EXPECT_EQ(metrics.at("accuracy"), 0.5);
}

TEST(Tagging, TypeAndBothEndsMustAgree) {
  EXPECT_EQ(one_text({kBPer, kIPer, kO}, {kBPer, kO, kO}).at("metrics").at("f1"), 0.0);
  EXPECT_EQ(one_text({kBPer, kIPer, kO}, {kBPer, kIPer, kIPer}).at("metrics").at("f1"), 0.0);
  EXPECT_EQ(one_text({kBPer, kIPer}, {kBLoc, kILoc}).at("metrics").at("f1"), 0.0);
  EXPECT_EQ(one_text({kBPer, kIPer, kBLoc}, {kBPer, kIPer, kO}).at("metrics").at("f1"), 2.0 / 3);
}

TEST(Tagging, MicroOverWordsLeavesOutO) {
  const Json metrics = one_text({kO, kO, kO, kBPer, kBLoc}, {kO, kO, kBPer, kBPer, kO}).at("metrics");
  EXPECT_EQ(metrics.at("accuracy"), 0.6);
  EXPECT_EQ(metrics.at("token_f1"), 0.5);  // one of two predicted, one of two true
}

TEST(Tagging, WithoutEntitiesEverythingIsZeroAndCounted) {
  const Json nothing = one_text({kO, kO}, {kO, kO}, 10), wrong = one_text({kO, kO}, {kBPer, kO}),
             missed = one_text({kO, kBPer}, {kO, kO});
  EXPECT_EQ(nothing.at("metrics").at("f1"), 0.0);
  EXPECT_EQ(nothing.at("metrics").at("accuracy"), 1.0);
  EXPECT_EQ(nothing.at("metrics").at("undefined"), 0);
  EXPECT_TRUE(nothing.at("per_label").empty());
  EXPECT_EQ(wrong.at("metrics").at("undefined"), 2);   // recall of PER, recall of B-PER
  EXPECT_EQ(missed.at("metrics").at("undefined"), 2);  // precision of PER, precision of B-PER
  EXPECT_EQ(wrong.at("metrics").at("macro_f1"), 0.0);
  EXPECT_NE(evaluation_text(wrong).find("2 of these precisions and recalls have denominator 0"), std::string::npos);
  EXPECT_EQ(evaluation_text(nothing).find("denominator"), std::string::npos);
}

TEST(Tagging, ConfusionHoldsEveryWord) {
  const Json confusion = one_text({kO, kBPer, kBPer}, {kO, kBLoc, kBLoc}).at("confusion");
  EXPECT_EQ(confusion,
            Json::parse(R"({"labels": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"], "cells": [[0, 0, 1], [1, 3, 2]]})"));
}

struct Corpus {
  std::vector<Tags> gold, predicted;
};

Corpus corpus(int texts) {
  std::mt19937 random(5);
  Corpus result;
  for (int i = 0; i < texts; ++i) {
    Tags gold(random() % 20), predicted;
    for (auto& tag : gold) tag = random() % 3 ? kO : static_cast<int32_t>(random() % 5);
    for (const auto tag : gold) predicted.push_back(random() % 4 ? tag : static_cast<int32_t>(random() % 5));
    result.gold.push_back(gold);
    result.predicted.push_back(predicted);
  }
  return result;
}

/// Counts of `ranks` ranks that deal the texts among them, summed.
TaggingCounts summed(const Corpus& corpus, int64_t ranks) {
  const auto n = static_cast<int64_t>(corpus.gold.size());
  TaggingCounts sum(kLabels, n);
  for (int64_t rank = 0; rank < ranks; ++rank) {
    TaggingCounts part(kLabels, n);
    for (int64_t i = rank; i < n; i += ranks)
      part.add_text(i, corpus.gold[static_cast<size_t>(i)], corpus.predicted[static_cast<size_t>(i)]);
    for (size_t v = 0; v < sum.values().size(); ++v) sum.values()[v] += part.values()[v];
  }
  return sum;
}

TEST(Tagging, IsTheSameForEveryRankCountToTheLastBit) {
  const Corpus texts = corpus(200);
  const std::string whole = metrics_of(summed(texts, 1), 100, 3).dump();
  for (const int64_t ranks : {2, 3, 8, 300}) EXPECT_EQ(metrics_of(summed(texts, ranks), 100, 3).dump(), whole) << ranks;
}

TEST(Tagging, RowsOfTheTextsAddUpToTheTotals) {
  const TaggingCounts counts = summed(corpus(100), 1);
  ASSERT_EQ(counts.groups(), 2);
  std::vector<int64_t> sums(8);
  for (int64_t i = 0; i < 100; ++i)
    for (size_t c = 0; c < 8; ++c) sums[c] += counts.row(i)[c];
  const auto types = counts.entities(EntityMode::kStrict);
  EXPECT_EQ(sums, (std::vector<int64_t>{types[0].correct, types[0].predicted, types[0].truth, types[1].correct,
                                        types[1].predicted, types[1].truth, sums[6], sums[7]}));
  EXPECT_EQ(static_cast<double>(sums[6]) / static_cast<double>(sums[7]), metrics_of(counts, 0, 1).at("metrics").at("accuracy"));
}

TEST(Tagging, ManyTextsShareTheTypesInTheirRows) {
  const int64_t texts = (int64_t{1} << 24) / 8 + 1;  // one more than rows of two types allow
  TaggingCounts counts(kLabels, texts);
  EXPECT_EQ(counts.groups(), 1);
  counts.add_text(texts - 1, Tags{kBPer, kBLoc}, Tags{kBPer, kBPer});
  const auto row = counts.row(texts - 1);
  EXPECT_EQ(std::vector<int64_t>(row.begin(), row.end()), (std::vector<int64_t>{1, 2, 2, 1, 2}));
  const Json evaluation = metrics_of(counts, 1, 1);
  EXPECT_TRUE(evaluation.at("intervals").contains("f1"));
  EXPECT_FALSE(evaluation.at("intervals").contains("macro_f1"));
}

TEST(Tagging, IntervalsSurroundTheValueAndFollowTheSeed) {
  const TaggingCounts counts = summed(corpus(200), 1);
  const Json evaluation = metrics_of(counts, 500, 3);
  for (const char* name : {"f1", "accuracy", "macro_f1"}) {
    const double value = evaluation.at("metrics").at(name), low = evaluation.at("intervals").at(name)[0],
                 high = evaluation.at("intervals").at(name)[1];
    EXPECT_LT(low, value) << name;
    EXPECT_GT(high, value) << name;
    EXPECT_LT(high - low, 0.25) << name;
  }
  EXPECT_NE(metrics_of(counts, 500, 4).at("intervals").at("f1"), evaluation.at("intervals").at("f1"));
  EXPECT_TRUE(metrics_of(counts, 0, 3).at("intervals").empty());
}

TEST(Tagging, RefusesWhatBreaksTheCount) {
  TaggingCounts counts(kLabels, 2);
  counts.add_text(0, Tags{kO}, Tags{kO});
  const auto before = counts.values();
  EXPECT_THROW(counts.add_text(0, Tags{kO}, Tags{kO}), std::logic_error);
  EXPECT_THROW(counts.add_text(2, Tags{kO}, Tags{kO}), std::logic_error);
  EXPECT_THROW(counts.add_text(-1, Tags{kO}, Tags{kO}), std::logic_error);
  EXPECT_THROW(counts.add_text(1, Tags{kO}, Tags{}), std::logic_error);
  EXPECT_THROW(counts.add_text(1, Tags{5}, Tags{kO}), std::logic_error);
  EXPECT_THROW(counts.add_text(1, Tags{kO}, Tags{-1}), std::logic_error);
  EXPECT_EQ(counts.values(), before);
}

TEST(Metric, NamesTheHeadlineAndKnowsWhichWayIsUp) {
  Json evaluation = one_text({kBPer, kO, kO}, {kBPer, kO, kBLoc});
  evaluation["loss"] = 0.25;
  EXPECT_EQ(metric_value(evaluation, "auto"), 2.0 / 3);
  EXPECT_EQ(metric_value(evaluation, "f1"), 2.0 / 3);
  EXPECT_EQ(metric_value(evaluation, "accuracy"), 2.0 / 3);
  EXPECT_EQ(metric_value(evaluation, "precision"), 0.5);
  EXPECT_EQ(metric_value(evaluation, "recall"), 1.0);
  EXPECT_EQ(metric_value(evaluation, "macro_f1"), 0.5);
  EXPECT_EQ(metric_value(evaluation, "loss"), 0.25);
  EXPECT_THROW(metric_value(evaluation, "f2"), ConfigError);
  EXPECT_THROW(metric_value(evaluation, "undefined"), ConfigError);
  for (const auto& name : metric_names()) EXPECT_EQ(larger_is_better(name), name != "loss");
}

}  // namespace
}  // namespace fmtrain
