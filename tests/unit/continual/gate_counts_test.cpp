// From observations of two models to the gate: compared by the names of labels, by texts, and what calibration says of them.
#include <gmock/gmock.h>

#include "runtime/continual/challenger_work.h"
#include "runtime/continual/gate_counts.h"
#include "runtime/continual/observe.h"
#include "runtime/continual/sealed_json.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;

/// Of texts with these gold and predicted ids, in a model that is sure by `sure`.
Observation seen(const std::vector<int32_t>& gold, const std::vector<int32_t>& predicted, int64_t classes, float sure) {
  Observation o;
  o.dims = 1;
  o.classes = classes;
  for (size_t i = 0; i < gold.size(); ++i) {
    o.features.push_back(0);
    o.gold.push_back({gold[i]});
    o.predicted.push_back({predicted[i]});
    o.labels.push_back(gold[i]);
    for (int32_t c = 0; c < classes; ++c)
      o.probabilities.push_back(c == predicted[i] ? sure : (1 - sure) / static_cast<float>(classes - 1));
  }
  o.seconds_per_text = 0.25;
  return o;
}

/// The champion knows {no, yes}; the challenger has the same under other ids, and a third.
TEST(GateCounts, ComparesByTheNamesOfLabels) {
  const std::vector<std::string> old{"no", "yes", "maybe"}, fresh{"yes", "maybe", "no"};
  GateCounts counts(Task::kSequenceClassification);
  const auto before = seen({0, 1, 2, 1}, {0, 1, 0, 0}, 2, 0.9f), after = seen({2, 0, 1, 0}, {2, 0, 1, 2}, 3, 0.9f);
  counts.add("rolling", {before, old}, {after, fresh});
  EXPECT_EQ(counts.scores().at("rolling"), Json({{"texts", 4}, {"champion", 0.5}, {"challenger", 0.75}}));
  EXPECT_EQ(counts.seconds_per_text(), 0.25);
  const GateInputs inputs = gate_inputs(unseal(seal(counts.json())), Task::kSequenceClassification);
  EXPECT_THAT(inputs.rolling.champion, ElementsAre(1, 1, 1, 1, 0, 1, 0, 1));
  EXPECT_THAT(inputs.rolling.challenger, ElementsAre(1, 1, 1, 1, 1, 1, 0, 1));
  EXPECT_EQ(inputs.core.examples(), 0);
}

TEST(GateCounts, OtherTextsCannotBeCompared) {
  GateCounts counts(Task::kSequenceClassification);
  const std::vector<std::string> labels{"no", "yes"};
  const auto before = seen({0, 1}, {0, 1}, 2, 0.9f), after = seen({1, 0}, {0, 1}, 2, 0.9f);
  EXPECT_THROW(counts.add("core", {before, labels}, {after, labels}), std::invalid_argument);
}

/// Right half of the time and sure by 0.99: too sure by 0.49. With the temperature of the rolling set it is as sure as it may be.
TEST(GateCounts, TheErrorOfCalibrationIsThatAfterTheRollingSetsTemperature) {
  const std::vector<std::string> labels{"no", "yes"};
  const auto texts = seen({0, 1, 0, 1}, {0, 0, 0, 0}, 2, 0.99f);
  GateCounts alone(Task::kSequenceClassification);
  alone.add("core", {texts, labels}, {texts, labels});
  EXPECT_NEAR(alone.ece().at("champion").get<double>(), 0.49, 1e-6);
  EXPECT_EQ(alone.temperature().at("champion"), 1);
  alone.add("rolling", {texts, labels}, {texts, labels});
  EXPECT_LT(alone.ece().at("champion").get<double>(), 0.05);
  EXPECT_GT(alone.temperature().at("champion").get<double>(), 10);
}

CycleState cycle(int64_t number, int64_t version, int64_t parent, Json tests) {
  CycleState state;
  state.number = number;
  state.version = version;
  state.records["triggered"] = plan_json({0, 1, parent, false, "1"});
  if (!tests.is_null()) state.records["evaluated"] = {{"tests", tests}};
  return state;
}

/// Cycle 1 was given up before its tests; the challenger of cycle 2 serves; that of 3 does not; after 4 a third one does.
TEST(GateCounts, ScoresInUseAreThoseOfWhatTheNextCycleChallenges) {
  const Json tests{{"core", {{"champion", 0.5}, {"challenger", 0.75}}}, {"rolling", {{"champion", 0.25}, {"challenger", 1.0}}}};
  const std::vector<CycleState> cycles{cycle(1, 2, 1, Json()), cycle(2, 2, 1, tests), cycle(3, 3, 2, tests), cycle(4, 4, 2, tests)};
  EXPECT_EQ(scores_in_use_after(cycles, 0, 9), Json::object());
  EXPECT_EQ(scores_in_use_after(cycles, 1, 9), Json({{"core", 0.75}, {"rolling-000002", 1.0}}));
  EXPECT_EQ(scores_in_use_after(cycles, 2, 9), Json({{"core", 0.5}, {"rolling-000003", 0.25}}));
  EXPECT_EQ(scores_in_use_after(cycles, 3, 9), Json::object());
  EXPECT_EQ(scores_in_use_after(cycles, 0, 9).value("core", 0.125), 0.125);  // asked for what is not known
}

class GateFiles : public TemporaryFolder {};

TEST_F(GateFiles, ALeakIsFoundByContent) {
  write("train.jsonl", "{\"text\": \"a  b\", \"label\": \"x\"}\n{\"text\": \"c\", \"label\": \"x\"}\n");
  write("rolling.jsonl", "{\"text\": \" a b \", \"label\": \"y\"}\n{\"text\": \"d\", \"label\": \"x\"}\n");
  const auto count = [&](const char* test) { return leaked_texts(path("train.jsonl"), {path(test)}, Task::kSequenceClassification); };
  EXPECT_EQ(count("rolling.jsonl"), 1);
  EXPECT_EQ(count("missing.jsonl"), 0);
}

TEST_F(GateFiles, SlicesAreOfTheirTexts) {
  write("core.jsonl", "{\"text\": \"one\", \"label\": \"x\"}\n{\"text\": \"one two three\", \"label\": \"y\"}\n");
  GateInputs inputs;
  inputs.core = {2, {1, 1, 0, 1}, {0, 1, 1, 1}, {0, 1}};
  add_slices(inputs, "core", path("core.jsonl"), {"words>=2", "label=x"}, Task::kSequenceClassification);
  ASSERT_EQ(inputs.slices.size(), 2u);
  EXPECT_EQ(inputs.slices[0].first, "core: words>=2");
  EXPECT_THAT(inputs.slices[0].second.challenger, ElementsAre(1, 1));
  EXPECT_THAT(inputs.slices[1].second.champion, ElementsAre(1, 1));
}

}  // namespace
}  // namespace fmtrain
