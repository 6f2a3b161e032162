// The report as a whole: verdicts, exit codes, what is in the JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "bench/continual/samples.h"
#include "runtime/continual/drift_report.h"
#include "runtime/errors.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;

/// n examples of two classes; the model is right for `accuracy` of them and says 0.9.
struct Sample {
  Sample(int64_t n, double shift, double accuracy, uint64_t seed) : features(latent_rows(n, 16, shift, seed)) {
    Draws draws(seed, 1, 0);
    for (uint64_t i = 0; i < static_cast<uint64_t>(n); ++i) {
      const auto predicted = static_cast<int32_t>(draws.below(2 * i, 2));
      const bool sure = draws.unit(2 * i + 1) < accuracy;
      labels.push_back(sure ? predicted : 1 - predicted);
      const float top = accuracy > 0.85 ? 0.9f : 0.75f;
      probabilities.push_back(predicted == 0 ? top : 1 - top);
      probabilities.push_back(predicted == 0 ? 1 - top : top);
      lengths.push_back(static_cast<double>(draws.below(i, 40)) + shift * 10);
    }
  }
  DriftSample view() const { return {features, 16, {probabilities, 2}, labels, {{"length", lengths}}}; }
  std::vector<float> features, probabilities;
  std::vector<int32_t> labels;
  std::vector<double> lengths;
};

DriftReport checked(const Sample& reference, const Sample& window) {
  DriftOptions options;
  options.permutations = 200;
  options.components = 8;
  options.splits = 40;
  return check_drift(reference.view(), window.view(), options);
}

TEST(DriftReport, NothingNew) {
  const DriftReport report = checked(Sample(1200, 0, 0.9, 1), Sample(500, 0, 0.9, 2));
  EXPECT_FALSE(report.drifted());
  EXPECT_FALSE(report.dropped());
  EXPECT_LT(report.severity, 1.5);
  EXPECT_EQ(drift_verdict(report, true), DriftVerdict::kNone);
  const Json json = drift_json(report, DriftVerdict::kNone);
  EXPECT_EQ(json.at("verdict"), "none");
  EXPECT_EQ(json.at("ks").at("adjusted_p").size(), 8u);
  EXPECT_GT(json.at("labels").at("p").get<double>(), 1e-3);
  EXPECT_NEAR(json.at("performance").at("measured").at("value").get<double>(), 0.9, 0.03);
  EXPECT_NEAR(json.at("performance").at("cbpe").at("value").get<double>(), 0.9, 0.03);
}

TEST(DriftReport, AnAlarmNeedsTwoWindows) {
  const DriftReport report = checked(Sample(1200, 0, 0.9, 1), Sample(500, 1, 0.9, 2));
  EXPECT_TRUE(report.drifted());
  EXPECT_GT(report.severity, 5);
  EXPECT_EQ(drift_verdict(report, false), DriftVerdict::kSuspected);
  EXPECT_EQ(drift_verdict(report, true), DriftVerdict::kDrift);
  EXPECT_EQ(exit_code(DriftVerdict::kSuspected), 0);
  EXPECT_EQ(exit_code(DriftVerdict::kDrift), 10);
  EXPECT_LT(*std::min_element(report.ks_p.begin(), report.ks_p.end()), 0.01);
  EXPECT_GT(report.psi.at(0).second.value, 10 * report.psi.at(0).second.expected);
  EXPECT_THAT(drift_text(report, DriftVerdict::kDrift), HasSubstr("drift (500 new examples beside 1200)"));
}

TEST(DriftReport, AnEstimatedDropOfAccuracy) {
  const DriftReport report = checked(Sample(1200, 0, 0.9, 1), Sample(500, 0, 0.75, 2));
  EXPECT_TRUE(report.dropped());
  EXPECT_THAT(drift_text(report, DriftVerdict::kNone), HasSubstr(": dropped"));
}

TEST(DriftReport, TooFewExamplesAreNotJudged) {
  const DriftReport report = checked(Sample(1200, 0, 0.9, 1), Sample(499, 1, 0.9, 2));
  EXPECT_FALSE(report.drifted());
  EXPECT_EQ(drift_verdict(report, true), DriftVerdict::kInsufficientData);
  EXPECT_EQ(exit_code(DriftVerdict::kInsufficientData), 11);
  EXPECT_EQ(drift_json(report, DriftVerdict::kInsufficientData).at("verdict"), "insufficient data");
}

TEST(DriftReport, FeaturesOfAnotherModelAreRefused) {
  const Sample reference(600, 0, 0.9, 1), window(500, 0, 0.9, 2);
  auto other = window.view();
  other.dims = 8;
  EXPECT_THROW(check_drift(reference.view(), other, {}), std::invalid_argument);
}

TEST(DriftReport, LabelsAndLengthsThatDoNotFitAreRefused) {
  const Sample reference(600, 0, 0.9, 1), window(500, 0, 0.9, 2);
  const auto refused = [&](const std::function<void(Sample&)>& change) {
    Sample other = reference, now = window;
    change(other);
    change(now);
    EXPECT_THROW(checked(other, window), std::invalid_argument);
    EXPECT_THROW(checked(reference, now), std::invalid_argument);
  };
  refused([](Sample& s) { s.labels[3] = 2; });
  refused([](Sample& s) { s.labels[3] = -1; });
  refused([](Sample& s) { s.labels.pop_back(); });
  refused([](Sample& s) { s.probabilities.resize(s.probabilities.size() - 2); });
  refused([](Sample& s) { s.lengths.push_back(1); });
  EXPECT_THROW(fit_temperature(reference.view().probabilities, window.labels), std::invalid_argument);
}

TEST(DriftReport, TooFewPermutationsToFindAnythingAreRefused) {
  const Sample reference(600, 0, 0.9, 1), window(500, 1, 0.9, 2);
  const auto with = [&](int64_t permutations) {
    DriftOptions options;
    options.permutations = permutations;
    options.components = 8;
    options.splits = 40;
    return check_drift(reference.view(), window.view(), options);
  };
  EXPECT_THROW(with(98), ConfigError);
  EXPECT_THROW(with(0), ConfigError);
  EXPECT_TRUE(with(99).drifted());
}

TEST(DriftReport, NumbersThatAreNoneAreRefused) {
  const Sample reference(600, 0, 0.9, 1), window(500, 0, 0.9, 2);
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()})
    for (const int place : {0, 1, 2}) {
      const auto spoilt = [&](Sample sample) {
        if (place == 2) sample.lengths[7] = bad;
        else (place ? sample.probabilities : sample.features)[7] = static_cast<float>(bad);
        return sample;
      };
      EXPECT_THROW(checked(spoilt(reference), window), NumericError) << bad << " " << place;
      EXPECT_THROW(checked(reference, spoilt(window)), NumericError) << bad << " " << place;
    }
}

}  // namespace
}  // namespace fmtrain
