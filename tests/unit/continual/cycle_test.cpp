// The cycle: stages in order, and a kill before any call leads to the same decision and the same files.
#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "bench/continual/challengers.h"
#include "runtime/continual/cycle.h"
#include "runtime/continual/examples.h"
#include "runtime/continual/gate.h"
#include "tests/support/fail_files.h"
#include "tests/unit/continual/recorded_files.h"
#include "tests/unit/continual/registry_folder.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;

/// A small but whole piece of work: every stage stores something, and each is a function of what the one before left.
class SmallWork : public CycleWork {
 public:
  SmallWork(Registry& registry, RegistryWriter& writer, double gain) : registry_(registry), writer_(writer), gain_(gain) {}

  Json freeze(const CycleState& state, const std::string& directory) override {
    calls.push_back("freeze");
    std::vector<Example> examples;
    for (int i = 0; i < 20; ++i) examples.push_back({content_hash(std::to_string(i)), i % 2, state.started + i});
    const std::string manifest = print_manifest(examples);
    write_file_atomic(registry_.files(), directory + "/examples.json", manifest);
    return {{"examples_sha256", sha256_hex(manifest.data(), manifest.size())}};
  }
  Json train(const CycleState& state, const std::string& directory) override {
    calls.push_back("train");
    remove_tree(registry_.files(), directory + "/model");
    registry_.files().make_dir(directory + "/model");
    write_file_atomic(registry_.files(), directory + "/model/model.safetensors",
                      "weights of " + state.records.at("data-frozen").dump());
    return {{"gpu_hours", 0.5}};
  }
  Json evaluate(const CycleState&, const std::string&) override {
    calls.push_back("evaluate");
    return {{"gain", gain_}};
  }
  Json decide(const CycleState& state, const std::string&) override {
    calls.push_back("decide");
    GateInputs in;
    in.rolling = simulated_pair(500, 0.1, state.records.at("evaluated").at("gain"), 1);
    in.core = simulated_pair(500, 0.1, state.records.at("evaluated").at("gain"), 2);
    GateOptions options;
    options.resamples = 200;
    return gate_json(in, judge(in, options));
  }
  Json publish(const CycleState& state, const std::string& directory) override {
    calls.push_back("publish");
    Lineage lineage;
    lineage.version = state.version;
    lineage.dataset_sha256 = lineage.config_sha256 = state.records.at("data-frozen").at("examples_sha256");
    lineage.gate = state.records.at("decided");
    writer_.add(directory + "/model", lineage);
    writer_.challenge(state.version, state.started);
    const auto verdict = lineage.gate.at("verdict").get<std::string>();
    if (verdict == "promote") writer_.promote(state.version, "gate", state.started);
    if (verdict == "reject") writer_.reject(state.version, "gate", state.started);
    return {{"champion", version_name(registry_.aliases().champion)}};
  }
  std::vector<std::string> calls;

 private:
  Registry& registry_;
  RegistryWriter& writer_;
  double gain_;
};

/// Whole `continual run`: go on with what is unfinished, or begin.
CycleState run(FileOps& files, const std::string& place, int64_t fence, double gain = 0.08,
               std::vector<std::string>* calls = nullptr) {
  Registry registry(files, place);
  RegistryWriter writer(registry, {fence, {}});
  Cycles cycles(registry, {fence, {}});
  cycles.remove_leftovers();
  auto state = cycles.unfinished();
  if (!state) state = cycles.begin({{"kind", "drift"}}, writer.next_version(), 1'700'000'000);
  SmallWork work(registry, writer, gain);
  const CycleState end = cycles.finish(*state, work);
  if (calls) *calls = work.calls;
  return end;
}

class CycleTest : public RegistryTest {
 protected:
  /// Every file a user sees, by hash; without what names the run (fence) that wrote it.
  std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / "registry")) {
      const auto name = std::filesystem::relative(entry.path(), folder_ / "registry").string();
      if (entry.is_regular_file() && !name.ends_with("state.json") && name != "aliases.json" && name != "audit.jsonl")
        found[name] = sha256_file(entry.path().string());
    }
    return found;
  }
};

TEST_F(CycleTest, DoesEachStageOnce) {
  std::vector<std::string> calls;
  const CycleState state = run(posix_files(), path("registry"), 1, 0.08, &calls);
  EXPECT_THAT(calls, ElementsAre("freeze", "train", "evaluate", "decide", "publish"));
  EXPECT_EQ(state.stage, CycleStage::kPublished);
  EXPECT_EQ(state.records.at("decided").at("verdict"), "promote");
  EXPECT_EQ(registry().aliases().champion, 1);
  Registry r = registry();
  const auto history = Cycles::history(Cycles(r, {1, {}}).all());
  ASSERT_EQ(history.size(), 1u);
  EXPECT_EQ(history[0].outcome, CycleOutcome::kPromoted);
  EXPECT_EQ(history[0].gpu_hours, 0.5);
  EXPECT_EQ(history[0].started, 1'700'000'000);
}

TEST_F(CycleTest, ARejectedChallengerLeavesTheChampion) {
  run(posix_files(), path("registry"), 1);
  const CycleState state = run(posix_files(), path("registry"), 2, -0.09);
  EXPECT_EQ(state.number, 2);
  EXPECT_EQ(state.records.at("decided").at("verdict"), "reject");
  EXPECT_EQ(registry().aliases().champion, 1);
  EXPECT_EQ(registry().aliases().challenger, 0);
  EXPECT_EQ(registry().lineage(2).gate.at("verdict"), "reject");
}

/// Killed before each call to the file system, and the run that goes on is killed as well: more than 20 kills in every stage.
TEST_F(CycleTest, KilledAtEveryCallItEndsTheSame) {
  run(posix_files(), path("registry"), 1);
  const auto expected = files();
  Registry undisturbed = registry();
  const std::string decided = Cycles(undisturbed, {1, {}}).all()[0].records.at("decided").dump();
  std::map<CycleStage, int> kills;
  for (int64_t call = 1, clean = 0; !clean; ++call) {
    ASSERT_LT(call, 1000);
    clear();
    killed([&] {
      FailFiles failing;
      failing.interrupt_at(call, [] { ::kill(::getpid(), SIGKILL); });
      run(failing, path("registry"), 1);
      write("finished", "");
    });
    clean = std::filesystem::exists(path("finished"));
    if (clean) break;
    Registry r = registry();
    const auto cycles = Cycles(r, {1, {}}).all();
    if (!cycles.empty()) ++kills[cycles[0].stage];
    killed([&] {
      FailFiles failing;
      failing.interrupt_at(call % 37 + 1, [] { ::kill(::getpid(), SIGKILL); });
      run(failing, path("registry"), 2);
    });
    const auto again = Cycles(r, {1, {}}).all();
    if (!again.empty()) ++kills[again[0].stage];
    const CycleState state = run(posix_files(), path("registry"), 3);
    if (state.number != 1) continue;  // was published before the kill: a second cycle began
    EXPECT_EQ(state.records.at("decided").dump(), decided) << call;
    EXPECT_TRUE(files() == expected) << call;
    EXPECT_EQ(registry().audit().size(), 2u) << call;
  }
  for (const auto stage :
       {CycleStage::kTriggered, CycleStage::kDataFrozen, CycleStage::kTrained, CycleStage::kEvaluated, CycleStage::kDecided})
    EXPECT_GE(kills[stage], 20) << cycle_stage_name(stage);
}

TEST_F(CycleTest, LeftoversOfAKilledOwnerGoAndTheFilesOfOthersStay) {
  Registry r = registry();
  RegistryWriter writer(r, {1, {}});
  std::filesystem::create_directories(path("registry/cycles/000001"));
  std::filesystem::create_directories(path("registry/cycles/mine"));
  const std::string random = ".tmp-0123456789abcdef";
  const std::vector<std::string> ours{"drift.jsonl" + random, "continual.html" + random, "cycles/window.jsonl" + random,
                                      "cycles/reference.conll" + random, "cycles/000001/state.json" + random},
      others{"aliases.json" + random, "notes.html" + random, "cycles/notes" + random, "cycles/mine/notes" + random};
  for (const auto* names : {&ours, &others})
    for (const auto& name : *names) write("registry/" + name, "x");
  Cycles(r, {1, {}}).remove_leftovers();
  for (const auto& name : ours) EXPECT_FALSE(std::filesystem::exists(path("registry/" + name))) << name;
  for (const auto& name : others) EXPECT_TRUE(std::filesystem::exists(path("registry/" + name))) << name;
}

TEST_F(CycleTest, AnEarlierRunThatWakesUpWritesNothing) {
  Registry r = registry();
  RegistryWriter writer(r, {3, {}});
  Cycles early(r, {3, {}});
  const CycleState begun = early.begin({{"kind", "manual"}}, 1, 1);
  SmallWork work(r, writer, 0.08);
  Cycles(r, {4, {}}).finish(begun, work);
  EXPECT_EQ(code_of([&] { early.finish(begun, work); }), 9);
}

/// A cycle trains for hours; a rollback meanwhile has a higher fence of its own in aliases.json, and nothing to do with the cycle's.
TEST_F(CycleTest, AChangeOfAliasesLeavesACycleGoing) {
  run(posix_files(), path("registry"), 1);
  run(posix_files(), path("registry"), 2);
  Registry r = registry();
  Cycles cycles(r, {3, {}});
  CycleState state = cycles.begin({{"kind", "manual"}}, 3, 1);
  RegistryWriter(r, {9, {}}).rollback(2, "bad in use", 1);
  RegistryWriter writer(r, {10, {}});
  SmallWork work(r, writer, 0.08);
  EXPECT_EQ(cycles.finish(state, work).stage, CycleStage::kPublished);
  EXPECT_EQ(cycles.highest_fence(), 3);
}

/// Generations of a lock begin anew where somebody removed lock.json; a writer must still come after those that were here.
TEST_F(CycleTest, AFenceIsAboveAllBeforeIt) {
  run(posix_files(), path("registry"), 7);  // nobody holds lock.json
  Registry r = registry();
  const LockIdentity me = this_process("here", "", 0);
  for (const int64_t expected : {8, 9}) {
    RegistryLock lock(r, me);
    const Fence fence = lock.fence();
    EXPECT_EQ(fence.generation, expected);
    Lineage next = lineage(expected);
    RegistryWriter writer(r, fence);
    writer.add(model("w"), next);
    writer.challenge(expected, 1);
  }
}

TEST_F(CycleTest, AnAbandonedOneEndsTheCycle) {
  Registry r = registry();
  RegistryWriter writer(r, {1, {}});
  Cycles cycles(r, {1, {}});
  cycles.abandon(cycles.begin({{"kind", "manual"}}, 1, 1), "trains to NaN");
  EXPECT_FALSE(cycles.unfinished());
  EXPECT_EQ(Cycles::history(cycles.all())[0].outcome, CycleOutcome::kInconclusive);
  EXPECT_EQ(cycles.begin({{"kind", "manual"}}, 2, 2).number, 2);
}

TEST_F(CycleTest, OneAtATime) {
  Registry r = registry();
  RegistryWriter writer(r, {1, {}});
  Cycles cycles(r, {1, {}});
  cycles.begin({{"kind", "manual"}}, 1, 1);
  EXPECT_THROW(cycles.begin({{"kind", "manual"}}, 2, 2), std::logic_error);
}

TEST_F(CycleTest, TheNameOfACycleIsSyncedBeforeItsState) {
  RecordedFiles files;
  Registry r(files, path("registry"));
  RegistryWriter writer(r, {1, {}});
  Cycles(r, {1, {}}).begin({{"kind", "manual"}}, 1, 1);
  const auto made = files.from("make " + path("registry/cycles/000001"));
  ASSERT_GE(made.size(), 2u);
  EXPECT_EQ(made[1], "sync " + path("registry/cycles"));
}

TEST_F(CycleTest, ADamagedStateIsNamed) {
  run(posix_files(), path("registry"), 1);
  const std::string file = "registry/cycles/000001/state.json", whole = content(file);
  for (size_t i = 0; i < whole.size(); i += 7) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    write(file, changed);
    std::string message;
    EXPECT_EQ(code_of([&] { run(posix_files(), path("registry"), 1); }, &message), 4) << i;
    EXPECT_THAT(message, testing::HasSubstr("state.json"));
  }
}

/// A record that a later run could not read ends the run that made it, and the cycle goes on from the state before.
TEST_F(CycleTest, ARecordThatCouldNotBeReadAgainIsNotWritten) {
  struct Endless : SmallWork {
    using SmallWork::SmallWork;
    Json train(const CycleState& state, const std::string& directory) override {
      SmallWork::train(state, directory);
      return record;
    }
    Json record;
  };
  Registry r = registry();
  RegistryWriter writer(r, {1, {}});
  Cycles cycles(r, {1, {}});
  const CycleState begun = cycles.begin({{"kind", "manual"}}, 1, 1);
  Json deep = Json::object();
  for (int i = 0; i < 20; ++i) deep = {{"deeper", deep}};
  for (const Json& record : {deep, Json{{"gpu_hours", std::nan("")}}, Json(1)}) {
    Endless work(r, writer, 0.08);
    work.record = record;
    EXPECT_EQ(code_of([&] { cycles.finish(*cycles.unfinished(), work); }), 2);
    EXPECT_EQ(cycles.unfinished()->stage, CycleStage::kDataFrozen);
  }
  SmallWork work(r, writer, 0.08);
  EXPECT_EQ(cycles.finish(*cycles.unfinished(), work).stage, CycleStage::kPublished);
}

TEST_F(CycleTest, RecordsFitTheStage) {
  CycleState state;
  state.number = state.version = 1;
  state.records = {{"triggered", {{"kind", "drift"}}}};
  Json record = Json::parse(print_cycle(state));
  record.erase("sha256");
  EXPECT_EQ(parse_cycle(record).stage, CycleStage::kTriggered);
  record["records"]["triggered"] = 1;
  EXPECT_THROW(parse_cycle(record), std::runtime_error);
  record["records"] = {{"triggered", Json::object()}, {"data-frozen", Json::object()}, {"trained", {{"gpu_hours", "1"}}}};
  record["stage"] = "trained";
  EXPECT_THROW(parse_cycle(record), std::runtime_error);
  record["records"]["trained"]["gpu_hours"] = 1;
  EXPECT_EQ(parse_cycle(record).stage, CycleStage::kTrained);
  record["records"].erase("trained");
  EXPECT_THROW(parse_cycle(record), std::runtime_error);
  record["stage"] = "unknown";
  EXPECT_THROW(parse_cycle(record), std::runtime_error);
}

}  // namespace
}  // namespace fmtrain
