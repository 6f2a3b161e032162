// Drift statistics against numpy, scipy and scikit-learn (make.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "runtime/continual/calibration.h"
#include "runtime/continual/class_drift.h"
#include "runtime/continual/corrections.h"
#include "runtime/continual/ks.h"
#include "runtime/continual/mmd.h"
#include "runtime/continual/pca.h"
#include "runtime/continual/performance_estimate.h"
#include "runtime/continual/psi.h"
#include "runtime/json.h"

namespace fmtrain {
namespace {

constexpr double kNear = 1e-9;  ///< the acceptance asks for 1e-6

Json golden() {
  std::ifstream file(FMTRAIN_SOURCE_DIR "/tests/golden/continual/drift.json");
  return Json::parse(file);
}
const Json kGolden = golden();

template <class T>
std::vector<T> list(const Json& json) {
  return json.get<std::vector<T>>();
}

void expect_near(const std::vector<double>& found, const std::vector<double>& expected, double distance = kNear) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], distance) << i;
}

TEST(GoldenDrift, MmdAndMedianDistance) {
  for (const Json& one : kGolden.at("mmd")) {
    const auto x = list<float>(one.at("x")), y = list<float>(one.at("y"));
    const int64_t dims = one.at("dims");
    const MmdTest test = mmd_test(x, y, dims, 10, 1);
    EXPECT_NEAR(test.sigma, one.at("sigma").get<double>(), kNear);
    EXPECT_NEAR(test.mmd2, one.at("mmd2").get<double>(), kNear);

    auto pool = x;
    pool.insert(pool.end(), y.begin(), y.end());
    const PairDistances distances(pool, dims, {});
    Splits splits{distances.points(), std::ssize(one.at("splits")[0]), {}};
    for (const Json& rows : one.at("splits")) splits.named.push_back(list<int32_t>(rows));
    expect_near(mmd2_from_sums(kernel_sums(distances, test.sigma, splits), splits), list<double>(one.at("mmd2_of_splits")));
  }
}

TEST(GoldenDrift, KolmogorovSmirnov) {
  for (const Json& one : kGolden.at("ks")) {
    const KsTest test = ks_test(list<double>(one.at("x")), list<double>(one.at("y")));
    EXPECT_NEAR(test.d, one.at("d").get<double>(), kNear);
    EXPECT_NEAR(test.p, one.at("p").get<double>(), kNear);
  }
  const auto sequence = [](int64_t n, const Json& rule) {
    std::vector<double> values;
    for (int64_t i = 0; i < n; ++i)
      values.push_back(static_cast<double>(i * rule[0].get<int64_t>() % rule[1].get<int64_t>()) / rule[1].get<double>() *
                       rule[2].get<double>());
    return values;
  };
  for (const Json& one : kGolden.at("long_ks")) {
    const KsTest test = ks_test(sequence(one.at("m"), one.at("a")), sequence(one.at("n"), one.at("b")));
    EXPECT_NEAR(test.d, one.at("d").get<double>(), kNear);
    EXPECT_NEAR(test.p, one.at("p").get<double>(), kNear);
    EXPECT_NEAR(test.p / one.at("p").get<double>(), 1, 1e-6);  // of small ones too
  }
}

TEST(GoldenDrift, Holm) {
  for (const Json& one : kGolden.at("holm")) expect_near(holm(list<double>(one.at("p"))), list<double>(one.at("adjusted")));
}

TEST(GoldenDrift, ClassesWithSmallCellsMerged) {
  for (const Json& one : kGolden.at("classes")) {
    const auto a = list<int64_t>(one.at("a")), b = list<int64_t>(one.at("b"));
    const ChiSquareTest test = chi_square_test(a, b);
    EXPECT_EQ(test.cells, one.at("cells").get<int64_t>());
    EXPECT_NEAR(test.statistic, one.at("statistic").get<double>(), kNear);
    EXPECT_NEAR(test.p, one.at("p").get<double>(), kNear);
    EXPECT_NEAR(js_divergence(a, b), one.at("js").get<double>(), kNear);
  }
  for (const Json& one : kGolden.at("chi_square_tail"))
    EXPECT_NEAR(chi_square_tail(one[0], one[1]), one[2].get<double>(), 1e-12) << one.dump();
}

TEST(GoldenDrift, PopulationStabilityIndex) {
  for (const Json& one : kGolden.at("psi"))
    EXPECT_NEAR(psi(list<double>(one.at("x")), list<double>(one.at("y"))).value, one.at("psi").get<double>(), kNear);
}

TEST(GoldenDrift, CalibrationAndEstimatesWithoutLabels) {
  for (const Json& one : kGolden.at("probabilities")) {
    const auto values = list<float>(one.at("probabilities"));
    const auto labels = list<int32_t>(one.at("labels"));
    const Probabilities raw{values, one.at("classes")};
    const double temperature = fit_temperature(raw, labels);
    EXPECT_NEAR(temperature, one.at("temperature").get<double>(), 1e-6);
    const auto calibrated_values = scaled(raw, temperature);
    const Probabilities calibrated{calibrated_values, raw.classes};
    const auto predicted = predictions(raw);
    EXPECT_EQ(predictions(calibrated), predicted);
    std::vector<bool> correct;
    for (size_t i = 0; i < labels.size(); ++i) correct.push_back(predicted[i] == labels[i]);
    EXPECT_NEAR(expected_calibration_error(confidences(raw), correct), one.at("ece").get<double>(), kNear);
    EXPECT_NEAR(cbpe_accuracy(calibrated).value, one.at("cbpe").get<double>(), 1e-6);  // probabilities are single precision
    EXPECT_NEAR(cbpe_macro_f1(calibrated), one.at("macro_f1").get<double>(), 1e-6);
    const double threshold = atc_threshold(confidences(calibrated), correct);
    EXPECT_NEAR(threshold, one.at("threshold").get<double>(), 1e-6);
    EXPECT_NEAR(atc_accuracy(confidences(calibrated), threshold).value, one.at("accuracy").get<double>(), kNear);
  }
}

TEST(GoldenDrift, PrincipalComponentsWithTheirSigns) {
  const Json& one = kGolden.at("pca");
  const auto rows = list<float>(one.at("rows"));
  const Pca pca = fit_pca(rows, one.at("dims"), 3);
  expect_near(pca.mean, list<double>(one.at("mean")));
  expect_near(pca.axes, list<double>(one.at("axes")));
  expect_near(pca.variances, list<double>(one.at("variances")));
  expect_near(project(pca, rows), list<double>(one.at("projected")));
}

}  // namespace
}  // namespace fmtrain
