// Transfer and forgetting against values worked out by hand.
#include "runtime/continual/measures.h"

#include <gtest/gtest.h>

namespace fmtrain {
namespace {

constexpr std::nullopt_t kNone = std::nullopt;

/// Eighths, so that sums and differences are exact.
TEST(Measures, ThreeCyclesByHand) {
  const ScoreMatrix scores{{{0.875, 0.25, 0.125}, {1.0, 0.75, 0.5}, {0.625, 0.5, 0.875}}, {0.125, 0.125, 0.25}};
  const ContinualMeasures m = continual_measures(scores);
  EXPECT_EQ(m.backward_transfer, ((0.625 - 0.875) + (0.5 - 0.75)) / 2);  // -0.25
  EXPECT_EQ(m.forward_transfer, ((0.25 - 0.125) + (0.5 - 0.25)) / 2);    // 0.1875
  EXPECT_EQ(m.forgetting, (std::vector<std::optional<double>>{1.0 - 0.625, 0.75 - 0.5}));
  EXPECT_EQ(m.mean_forgetting, 0.3125);
  EXPECT_EQ(m.largest_forgetting, 0.375);
  EXPECT_EQ(measures_json(m).dump(), R"({"backward_transfer":-0.25,"forward_transfer":0.1875,"mean_forgetting":0.3125,)"
                                     R"("largest_forgetting":0.375,"forgetting":[0.375,0.25]})");
}

/// The best earlier score may be of a cycle before the test's own, and a test may have become better: forgetting below 0.
TEST(Measures, BetterThanEverIsForgettingBelowZero) {
  const ContinualMeasures m = continual_measures({{{0.5, 0.75}, {0.625, 0.5}, {0.75, 0.625, 1.0}}, {}});
  EXPECT_EQ(m.forgetting, (std::vector<std::optional<double>>{-0.125, 0.125}));
  EXPECT_EQ(m.mean_forgetting, 0.0);
  EXPECT_EQ(m.backward_transfer, 0.1875);
  EXPECT_EQ(m.forward_transfer, kNone);
}

TEST(Measures, MissingCellsLeaveTheMean) {
  const ScoreMatrix scores{{{kNone, 0.5}, {0.75, 1.0, kNone}, {0.5}, {0.25, 0.75, 0.5, 0.875}}, {0.0, 0.25, 0.5}};
  const ContinualMeasures m = continual_measures(scores);
  EXPECT_EQ(m.backward_transfer, 0.75 - 1.0);  // test 1 has no score of its own cycle, test 3 neither
  EXPECT_EQ(m.forward_transfer, 0.5 - 0.25);   // of test 2 alone
  EXPECT_EQ(m.forgetting, (std::vector<std::optional<double>>{0.5, 0.25, kNone}));
  EXPECT_EQ(m.mean_forgetting, 0.375);
  EXPECT_EQ(matrix_json(scores).dump(), "[[null,0.5],[0.75,1.0,null],[0.5],[0.25,0.75,0.5,0.875]]");
}

TEST(Measures, FewerThanTwoCyclesHaveNone) {
  for (const ScoreMatrix& scores : {ScoreMatrix{}, ScoreMatrix{{{0.5, 0.25}}, {0.125, 0.125}}, ScoreMatrix{{{}}, {}}}) {
    const ContinualMeasures m = continual_measures(scores);
    EXPECT_EQ(m.backward_transfer, kNone);
    EXPECT_EQ(m.forward_transfer, kNone);
    EXPECT_EQ(m.mean_forgetting, kNone);
    EXPECT_EQ(m.largest_forgetting, kNone);
    EXPECT_TRUE(m.forgetting.empty());
  }
  EXPECT_EQ(measures_json({}).dump(), R"({"backward_transfer":null,"forward_transfer":null,"mean_forgetting":null,)"
                                      R"("largest_forgetting":null,"forgetting":[]})");
}

}  // namespace
}  // namespace fmtrain
