// Timelines: from a recording, from a file, cut anew; and what a simulation makes of them.
#include "runtime/scaling/simulation.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "runtime/errors.h"
#include "runtime/scaling/recording.h"
#include "tests/support/temporary_folder.h"

namespace fmtrain {
namespace {

using testing::HasSubstr;

Json line(int step, double compute) {
  return {{"step", step},
          {"samples", 32},
          {"tokens", 1000},
          {"seconds", {{"compute", compute}, {"optimizer", 0.5}, {"other", 0.125}, {"data", 0.125}, {"total", 9}}}};
}

TEST(Recording, BucketsAreWhatWasSentBeforeTheFirstWait) {
  Recording r{"x.yaml", 2, 1, 2, 4, 2, 1024, {}};
  // Warm-up, then an update whose backward (of the last of two leaves of 3 s: 2 s) ends at 100.
  r.calls = {{0, 999, 1, 1}, {1, 400, 99, 100}, {1, 600, 99.5, 100.25}, {1, 50, 100.5, 100.5}, {1, 2, 100.75, 100.75}};
  const Timeline t = timeline_of(r, {line(1, 77), line(2, 6)}, 1);
  ASSERT_EQ(t.buckets.size(), 2u);
  EXPECT_EQ(t.buckets[0].bytes, 400);
  EXPECT_EQ(t.buckets[0].ready, 0.5);
  EXPECT_EQ(t.buckets[1].ready, 0.75);
  EXPECT_EQ(t.rest, 50);  // without two bytes of squares
  EXPECT_EQ(t.forward, 1);
  EXPECT_EQ(t.backward, 2);
  EXPECT_EQ(t.other, 0.25);
  EXPECT_EQ(t.jitter, 0);
  EXPECT_EQ(t.samples, 32);
  EXPECT_EQ(t.gradient_bytes(), 1050);
  EXPECT_TRUE(t.on_cpu);
}

TEST(Recording, JitterAndFaults) {
  Recording r{"x.yaml", 1, 1, 2, 1, 1, 8, {}};
  EXPECT_NEAR(timeline_of(r, {line(1, 2), line(2, 4)}, 0).jitter, 1.4826, 1e-12);  // around 3
  EXPECT_NEAR(timeline_of(r, {line(1, 2), line(2, 3), line(3, 4), line(4, 3), line(5, 300)}, 0).jitter, 1.4826, 1e-12);  // one was held up
  EXPECT_THROW(timeline_of(r, {line(1, 2)}, 1), DataError);
  r.calls = {{0, 8, 1, 2}, {1, 8, 3, 4}, {1, 8, 3.5, 4}};
  EXPECT_THROW(timeline_of(r, {line(1, 2), line(2, 4)}, 0), DataError);
}

TEST(Timeline, CutIntoOtherBuckets) {
  Timeline t;
  t.buckets = {{100, 0.5}, {60, 1}};
  const auto cut = with_buckets(t, 64).buckets;
  ASSERT_EQ(cut.size(), 3u);  // 64 of the first; 36 and 28 of the second; its last 32
  EXPECT_EQ(cut[0].ready, 0.5);
  EXPECT_EQ(cut[1].bytes, 64);
  EXPECT_EQ(cut[1].ready, 1);
  EXPECT_EQ(cut[2].bytes, 32);
  EXPECT_EQ(with_buckets(t, 1e9).buckets.size(), 1u);
  EXPECT_LE(with_buckets(t, 1e-9).buckets.size(), 4097u);
  EXPECT_EQ(with_buckets(t, 0).buckets.size(), 2u);
}

class TimelineFile : public TemporaryFolder {
 protected:
  void expect_refused(const Json& json, const std::string& what) const {
    write("t.json", json.is_string() ? json.get<std::string>() : json.dump());
    try {
      read_timeline(path("t.json"));
      ADD_FAILURE() << json;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("t.json"));
      EXPECT_THAT(error.what(), HasSubstr(what));
    }
  }
  static Json good() {
    Timeline t;
    t.name = "x";
    t.buckets = {{10, 0.5}, {20, 1}};
    t.forward = 0.1;
    return to_json(t);
  }
};

TEST_F(TimelineFile, RoundTrip) {
  write("t.json", good().dump());
  EXPECT_EQ(to_json(read_timeline(path("t.json"))), good());
  Json json = good();
  json["device"] = "cpu";
  write("t.json", json.dump());
  EXPECT_TRUE(read_timeline(path("t.json")).on_cpu);
  json.erase("device");
  write("t.json", json.dump());
  EXPECT_FALSE(read_timeline(path("t.json")).on_cpu);
}

TEST_F(TimelineFile, HostileOnesAreRefused) {
  const auto with = [](const char* name, const Json& value) {
    Json json = good();
    json[name] = value;
    return json;
  };
  expect_refused(Json("{"), "byte");
  expect_refused(Json::object(), "no timeline");
  expect_refused(with("version", 2), "no timeline");
  expect_refused(with("forward_s", -1), "forward_s");
  expect_refused(with("backward_s", 1e300), "backward_s");
  expect_refused(with("leaves", 0), "leaves");
  expect_refused(with("leaves", 1 << 20), "leaves times buckets");
  expect_refused(with("ranks", "many"), "ranks");
  expect_refused(with("device", "tpu"), "device");
  expect_refused(with("buckets", 7), "buckets");
  expect_refused(with("buckets", Json::array({{{"bytes", 1}, {"ready", 0.5}}, {{"bytes", 1}, {"ready", 0.25}}})),
                 "buckets[1]: ready");
  expect_refused(with("buckets", Json(std::vector<Json>(4097, Json::object()))), "buckets");
  std::filesystem::rename(path("t.json"), path("real.json"));
  std::filesystem::create_symlink(path("real.json"), path("t.json"));
  EXPECT_THROW(read_timeline(path("t.json")), Error);
}

Timeline long_backward() {
  Timeline t;
  t.name = "x";
  t.leaves = 4;
  t.forward = 1;
  t.backward = 2;
  t.parameters = 256;
  t.samples = 8;
  t.buckets = {{512, 0.5}, {512, 1}};
  return t;
}

TEST(Simulation, RowsAndAdvice) {
  Simulation s;
  s.ranks = {1, 4, 8};
  s.stages = {0, 1};
  s.algorithm = Algorithm::kRing;
  s.network = {{0, 1024}, {0, 1024}, 64, 40};
  s.memory = 4000;  // stage 0 needs 16 * 256
  s.part_mean_time = 36000;
  s.checkpoint = 1;
  s.restart = 10;
  const Json all = simulate(long_backward(), s);
  ASSERT_EQ(all.at("rows").size(), 6u);
  EXPECT_EQ(all.at("rows")[0].at("strong").at("step_s"), 12);
  EXPECT_EQ(all.at("rows")[0].at("fits"), false);
  EXPECT_EQ(all.at("rows")[3].at("fits"), true);
  EXPECT_TRUE(all.at("rows")[4].at("strong").is_null());  // 8 ranks, 4 leaves
  EXPECT_GT(all.at("rows")[0].at("goodput"), all.at("rows")[4].at("goodput"));
  EXPECT_EQ(all.at("advice").at("largest_useful").at("weak"), (Json{{"ranks", 8}, {"stage", 1}}));
  EXPECT_EQ(all.at("advice").at("buckets")[0].at("stage"), 1);
  EXPECT_THAT(simulation_text(all), HasSubstr("| 8 | 1 | - |"));
  EXPECT_THAT(simulation_picture(all), HasSubstr("stage 1, 8 ranks"));
}

TEST(Simulation, ACopyOnEveryNode) {
  Simulation s;
  s.ranks = {2, 8};
  s.stages = {0, 2};
  s.network = {{0, 1024}, {0, 1024}, 2, 40};
  const auto figure = [](const Json& all, size_t row, const char* name) { return all.at("rows")[row].at(name).get<double>(); };
  const Json world = simulate(long_backward(), s);
  s.by_node = true;
  const Json node = simulate(long_backward(), s);
  EXPECT_EQ(world.at("shard_group"), "world");
  EXPECT_EQ(node.at("shard_group"), "node");
  EXPECT_THAT(simulation_text(node), HasSubstr("engine.shard_group: node"));
  for (const size_t same : {0, 1, 2}) EXPECT_EQ(node.at("rows")[same], world.at("rows")[same]) << same;  // one node, or nothing shared out
  EXPECT_EQ(figure(world, 3, "state_bytes"), 4 * 256 + 12 * 256 / 8);
  EXPECT_EQ(figure(node, 3, "state_bytes"), 4 * 256 + 12 * 256 / 2);
  EXPECT_EQ(figure(node, 1, "between_bytes"), 0);
  EXPECT_EQ(figure(node, 3, "between_bytes"), (2 * 1024 / 2 + 2 * 0.5 / 2) * 3 / 4);  // gradients and squares, over 4 nodes
}

TEST(Simulation, OfEqualRanksTheMoreEfficientStageIsNamed) {
  Simulation s;
  s.ranks = {4};
  s.algorithm = Algorithm::kRing;
  s.network = {{0, 1024}, {0, 1024}, 64, 40};
  s.useful = 0.1;
  s.stages = {0, 1};
  Timeline t = long_backward();
  t.optimizer = 8;  // which stage 1 shares out
  EXPECT_EQ(simulate(t, s).at("advice").at("largest_useful").at("strong"), (Json{{"ranks", 4}, {"stage", 1}}));
}

TEST(Simulation, PredictedBesideMeasured) {
  Simulation s;
  s.algorithm = Algorithm::kRing;
  s.network = {{0, 0}, {0, 0}, 64, 40};  // no cost of communication
  const auto row = [](const char* mode, int ranks, double seconds) {
    return Json{{"mode", mode}, {"ranks", ranks}, {"oversubscribed", ranks > 2}, {"step_s", {{"median", seconds}}}};
  };
  const Json scaling{{"machine", {{"cores", 2}}},
                     {"rows", {row("strong", 1, 12), row("strong", 2, 8), row("strong", 4, 6), row("weak", 2, 12)}}};
  const Json rows = validate(long_backward(), s, 0, scaling);
  EXPECT_EQ(rows[0].at("error"), 0);
  EXPECT_EQ(rows[1].at("predicted_s"), 6);
  EXPECT_EQ(rows[1].at("error"), -0.25);
  EXPECT_EQ(rows[2].at("predicted_s"), 6);  // one leaf at half the speed
  EXPECT_EQ(rows[3].at("predicted_s"), 12);
  EXPECT_THAT(validation_text(rows), HasSubstr("| strong | 4 (oversubscribed) |"));
}

}  // namespace
}  // namespace fmtrain
