// What `fmtrain checkpoint` says and does, through the library; exact facts wherever there are some.
#include "runtime/checkpoint/tools.h"

#include <cerrno>
#include <limits>
#include <map>

#include "models/task_model.h"
#include "runtime/checkpoint/safetensors.h"
#include "runtime/hash.h"
#include "runtime/model_dir.h"
#include "tests/support/fail_files.h"
#include "tests/unit/checkpoint/checkpoint_folder.h"

namespace fmtrain {
namespace {

using testing::ElementsAre;

class Tools : public Checkpoints {
 protected:
  std::string run() const { return folder_.string(); }
  std::string step(int64_t n) const { return dir() + "/step-" + std::to_string(n); }

  /// Saves `flat` as step n of a trainer whose best evaluation was that of step `best`.
  void put(int ranks, int64_t n, Flat flat, const Json& best = -1, const Json& fixed = kFixed) const {
    Json small = kSmall;
    small["trainer"]["best_step"] = best;
    run_ranks(ranks, [&](Communicator& comm) {
      CheckpointStore store(dir(), posix_files(), comm, 100);
      ASSERT_TRUE(store.save(n, flat.share(comm), small, fixed, -1, nullptr));
    });
  }
  void damage(const std::string& name) const {
    auto text = content(name);
    text[text.size() - 1] = static_cast<char>(text[text.size() - 1] ^ 1);
    write(name, text);
  }
  /// Every file with its time of change.
  std::map<std::string, fs::file_time_type> state_of_disk() const {
    std::map<std::string, fs::file_time_type> all;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) all[entry.path().string()] = entry.last_write_time();
    return all;
  }
};

Json steps_of(const Json& list) {
  Json steps = Json::array();
  for (const auto& entry : list) steps.push_back(entry.at("step"));
  return steps;
}

TEST_F(Tools, ARunWithoutCheckpointsHasNone) {
  const Json none{{"run", run()}, {"checkpoints", Json::array()}};
  EXPECT_EQ(list_checkpoints(posix_files(), run()), none) << "no folder";
  fs::create_directory(dir());
  EXPECT_EQ(list_checkpoints(posix_files(), run()), none) << "an empty one";
  EXPECT_TRUE(verify_checkpoints(posix_files(), run()).at("checkpoints").empty());
  EXPECT_EQ(prune_checkpoints(posix_files(), run(), 1, false).at("kept"), Json::array());
}

TEST_F(Tools, APathThatIsNotThereIsTheUsersMistake) {
  const std::string none = path("none");
  EXPECT_THROW(list_checkpoints(posix_files(), none), ConfigError);
  EXPECT_THROW(verify_checkpoints(posix_files(), none), ConfigError);
  EXPECT_THROW(verify_checkpoints(posix_files(), none + "/step-3"), ConfigError);
  EXPECT_THROW(inspect_checkpoint(posix_files(), none), ConfigError);
  EXPECT_THROW(diff_checkpoints(posix_files(), none, none), ConfigError);
  EXPECT_THROW(export_checkpoint(posix_files(), none, path("out")), ConfigError);
  EXPECT_THROW(prune_checkpoints(posix_files(), none, 1, false), ConfigError);
  EXPECT_THROW(inspect_checkpoint(posix_files(), run()), CheckpointError) << "a directory without a manifest";
}

TEST_F(Tools, ListReadsManifestsAndTouchesNothing) {
  put(2, 5, Flat(5), 5);
  put(3, 10, Flat(10), 5);
  put(1, 20, Flat(20), 5);
  damage(manifest(10));
  damage(shard(5, 0, 2));                    // not read
  fs::create_directory(dir() + "/.tmp-30");  // what a running run is writing
  write("checkpoints/.tmp-30/" + shard_name(0, 1), "half");
  const auto before = state_of_disk();
  const Json facts = list_checkpoints(posix_files(), run() + "/");
  EXPECT_EQ(state_of_disk(), before);
  const auto bytes = [&](int64_t n, int ranks) {
    int64_t sum = 0;
    for (int r = 0; r < ranks; ++r) sum += static_cast<int64_t>(content(shard(n, r, ranks)).size());
    return sum;
  };
  const Json& list = facts.at("checkpoints");
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0], (Json{{"step", 20}, {"ranks", 1}, {"bytes", bytes(20, 1)}, {"best", false}}));
  EXPECT_EQ(list[1].at("step"), 10);
  EXPECT_THAT(list[1].at("problem").get<std::string>(), HasSubstr("its own SHA-256"));
  EXPECT_EQ(list[2], (Json{{"step", 5}, {"ranks", 2}, {"bytes", bytes(5, 2)}, {"best", true}}));
}

TEST_F(Tools, VerifyGoesOnAfterADamagedOne) {
  for (const int64_t n : {1, 2, 3, 4}) put(2, n, Flat(static_cast<double>(n)));
  damage(shard(4, 1, 2));
  fs::remove(path(manifest(2)));
  forge(3, [](Json& json) { json["step"] = 7; });
  const Json list = verify_checkpoints(posix_files(), run()).at("checkpoints");
  EXPECT_EQ(steps_of(list), (Json{4, 3, 2, 1}));
  const char* problems[] = {"is damaged between bytes 0", "is the checkpoint of step 7", "manifest.json"};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(list[i].at("valid"), false);
    EXPECT_THAT(list[i].at("problem").get<std::string>(), HasSubstr(problems[i]));
  }
  EXPECT_EQ(list[3].at("valid"), true);
  EXPECT_FALSE(list[3].contains("problem"));
  EXPECT_EQ(verify_checkpoints(posix_files(), step(1) + "/").at("checkpoints"), Json::array({list[3]})) << "one of them";
}

TEST_F(Tools, AShardThatIsNoneIsDamagedThoughItsHashesAgree) {
  put(1, 1, Flat(1));
  const std::string text = content(shard(1, 0, 1));
  const std::vector<std::pair<std::string, std::string>> changes{
      {"\"0:5,7\"", "\"9:5,7\""}, {"\"0:5,7\"", "\"0:5,x\""}, {"\"0:5,7\"", "\"0;5,7\""}, {"\"F32\"", "\"I32\""}};
  for (const auto& [from, to] : changes) {
    auto changed = text;
    changed.replace(changed.find(from), from.size(), to);
    write(shard(1, 0, 1), changed);
    forge(1, [&](Json& json) { json["files"][0]["blocks"][0] = xxh3_hex(changed.data(), changed.size()); });
    EXPECT_EQ(verify_checkpoints(posix_files(), run()).at("checkpoints")[0].at("valid"), false) << to;
    EXPECT_THROW(inspect_checkpoint(posix_files(), step(1)), CheckpointError) << to;
  }
}

TEST_F(Tools, InspectSaysAllThatIsKnown) {
  put(3, 8, Flat(8), 4);
  const Json facts = inspect_checkpoint(posix_files(), step(8));
  int64_t bytes = 0;
  for (int r = 0; r < 3; ++r) {
    const auto size = static_cast<int64_t>(content(shard(8, r, 3)).size());
    EXPECT_EQ(facts.at("files")[static_cast<size_t>(r)], (Json{{"name", shard_name(r, 3)}, {"bytes", size}}));
    bytes += size;
  }
  EXPECT_EQ(facts.at("bytes"), bytes);
  EXPECT_EQ(facts.at("step"), 8);
  EXPECT_EQ(facts.at("ranks"), 3);
  EXPECT_EQ(facts.at("fixed"), kFixed);
  EXPECT_EQ(facts.at("state").at("trainer"), (Json{{"step", 9}, {"best_step", 4}}));
  // 47 elements a rank: a (35) and b (16) are cut once at 47, c from 51 on at 94.
  EXPECT_EQ(facts.at("tensors").size(), 6u);
  EXPECT_EQ(facts.at("tensors")[3], (Json{{"name", "param/a"}, {"shape", {5, 7}}, {"pieces", 1}}));
  EXPECT_EQ(facts.at("tensors")[4], (Json{{"name", "param/b"}, {"shape", {16}}, {"pieces", 2}}));
  EXPECT_EQ(facts.at("tensors")[5], (Json{{"name", "param/c"}, {"shape", {30, 3}}, {"pieces", 2}}));
}

TEST_F(Tools, EqualStatesOfOtherNumbersOfRanksAreEqual) {
  put(1, 1, Flat(7));
  put(4, 2, Flat(7));
  const Json facts = diff_checkpoints(posix_files(), step(1), step(2));
  EXPECT_EQ(facts.at("equal"), true);
  EXPECT_EQ(facts.at("fixed"), Json::array());
  EXPECT_EQ(facts.at("tensors").size(), 6u);
  for (const auto& t : facts.at("tensors")) EXPECT_EQ(t.at("differ"), 0);
}

TEST_F(Tools, DiffNamesWhatDiffers) {
  Flat other(0);
  other.values[36] += 2;     // in b
  other.values[40] -= 0.25;  // in b
  other.values[0] = -0.0;    // in a: equal as a number, not in its bits
  other.values[60] = std::numeric_limits<float>::quiet_NaN();
  Json fixed = kFixed;
  fixed["config_lines"][0] = "lr=3";
  fixed["more"] = 1;
  put(2, 1, Flat(0));
  put(3, 2, other, -1, fixed);
  const Json facts = diff_checkpoints(posix_files(), step(1), step(2));
  EXPECT_EQ(facts.at("equal"), false);
  EXPECT_EQ(facts.at("a"), (Json{{"path", step(1)}, {"step", 1}, {"ranks", 2}}));
  EXPECT_EQ(facts.at("fixed"),
            Json::parse(R"([{"key":"config_lines","a":["lr=1"],"b":["lr=3"]},{"key":"more","a":null,"b":1}])"));
  const Json& tensors = facts.at("tensors");
  EXPECT_EQ(tensors[3], (Json{{"name", "param/a"}, {"elements", 35}, {"differ", 1}, {"largest", 0.0}}));
  EXPECT_EQ(tensors[4], (Json{{"name", "param/b"}, {"elements", 16}, {"differ", 2}, {"largest", 2.0}}));
  EXPECT_EQ(tensors[5], (Json{{"name", "param/c"}, {"elements", 90}, {"differ", 1}, {"largest", nullptr}}));
}

TEST_F(Tools, DiffOfOtherTensors) {
  const auto save_one = [&](int64_t n, const std::vector<std::pair<std::string, std::vector<int64_t>>>& tensors) {
    run_ranks(1, [&](Communicator& comm) {
      StateDict state;
      for (const auto& [name, shape] : tensors) state.pieces.push_back({name, shape, 0, at::zeros({6}, at::kFloat)});
      CheckpointStore store(dir(), posix_files(), comm, 100);
      ASSERT_TRUE(store.save(n, state, kSmall, kFixed, -1, nullptr));
    });
  };
  save_one(1, {{"param/x", {2, 3}}, {"param/y", {6}}, {"param/z", {6}}});
  save_one(2, {{"param/v", {6}}, {"param/x", {3, 2}}, {"param/z", {6}}});
  const Json facts = diff_checkpoints(posix_files(), step(1), step(2));
  EXPECT_EQ(facts.at("only_a"), Json{"param/y"});
  EXPECT_EQ(facts.at("only_b"), Json{"param/v"});
  EXPECT_EQ(facts.at("other_shape"), Json{"param/x"});
  EXPECT_EQ(facts.at("tensors").size(), 1u);
  EXPECT_EQ(facts.at("equal"), false);
}

ModelConfig small_bert() {
  ModelConfig c;
  c.vocab_size = 300, c.hidden_size = 32, c.layers = 2, c.heads = 4, c.intermediate_size = 64, c.max_positions = 32,
  c.labels = 5;
  return c;
}

/// Rank r's part of every parameter, and an optimizer's state beside it that must not be exported.
StateDict share_of(TaskModel& model, const Communicator& comm) {
  StateDict dict;
  for (const char* prefix : {"param/", "exp_avg/"})
    for (const auto& p : model.parameters()) {
      const auto flat = p.value.detach().view({-1});
      const int64_t from = comm.rank() * flat.numel() / comm.size(), to = (comm.rank() + 1) * flat.numel() / comm.size();
      dict.pieces.push_back({prefix + p.name, p.value.sizes().vec(), from, flat.slice(0, from, to)});
    }
  return dict;
}

TEST_F(Tools, AModelDirectoryTakesAnExport) {
  const auto model = make_bert(small_bert(), 1), other = make_bert(small_bert(), 2);
  run_ranks(3, [&](Communicator& comm) {
    CheckpointStore store(dir(), posix_files(), comm, 100);
    ASSERT_TRUE(store.save(4, share_of(*model, comm), kSmall, kFixed, -1, nullptr));
  });
  const auto facts = export_checkpoint(posix_files(), step(4), path("model.safetensors"));
  EXPECT_EQ(facts.at("tensors"), model->parameters().size());
  EXPECT_EQ(facts.at("bytes"), static_cast<int64_t>(content("model.safetensors").size()));
  EXPECT_EQ(facts.at("frozen"), false);
  ASSERT_NE(weights_sha256(*other), weights_sha256(*model));
  load_weights(*other, run());
  EXPECT_EQ(weights_sha256(*other), weights_sha256(*model));
  EXPECT_THROW(export_checkpoint(posix_files(), step(4), path("model.safetensors")), ConfigError) << "it exists";
}

TEST_F(Tools, ExportSaysWhenParametersWereFrozen) {
  for (const auto& [line, frozen] : {std::pair{"finetune.freeze=none", false}, {"finetune.freeze=backbone", true}}) {
    remove_tree(posix_files(), dir());
    put(1, 1, Flat(1), -1, Json{{"config_lines", {"lr=1", line}}});
    EXPECT_EQ(export_checkpoint(posix_files(), step(1), path(line)).at("frozen"), frozen);
  }
}

TEST_F(Tools, ExportTakesTheWeightsThatTheRunEvaluates) {
  Flat flat(1);
  const auto average = flat.values / 2;
  const auto with_average = [&](const std::string& line, bool kept) {
    remove_tree(posix_files(), dir());
    run_ranks(1, [&](Communicator& comm) {
      auto state = flat.whole();
      for (const auto& t : kTensors)
        if (kept) state.pieces.push_back({"ema/" + std::string(t.name), t.shape, 0, average.slice(0, t.offset, t.offset + t.numel)});
      CheckpointStore store(dir(), posix_files(), comm, 100);
      ASSERT_TRUE(store.save(1, state, kSmall, Json{{"config_lines", {"lr=1", line}}}, -1, nullptr));
    });
  };
  const auto exported = [&](const std::string& weights) {
    fs::remove(path("out"));
    const Json facts = export_checkpoint(posix_files(), step(1), path("out"), weights);
    EXPECT_EQ(facts.at("tensors"), 3);
    SafetensorsFile file(path("out"));
    auto values = at::empty({35}, at::kFloat);
    file.read(0, values.data_ptr());
    EXPECT_EQ(file.header().tensors[0].name, "a");
    EXPECT_TRUE(at::equal(values, (facts.at("weights") == "ema" ? average : flat.values).slice(0, 0, 35))) << weights;
    return facts.at("weights").get<std::string>();
  };
  with_average("evaluate.weights=ema", true);
  EXPECT_EQ(exported(""), "ema");
  EXPECT_EQ(exported("trained"), "trained");
  with_average("evaluate.weights=trained", true);
  EXPECT_EQ(exported(""), "trained");
  EXPECT_EQ(exported("ema"), "ema");
  with_average("evaluate.weights=trained", false);
  EXPECT_EQ(exported(""), "trained");
  EXPECT_THROW(export_checkpoint(posix_files(), step(1), path("none"), "ema"), ConfigError);
}

TEST_F(Tools, ExportLeavesAWholeFileOrNone) {
  put(2, 1, Flat(1));
  damage(shard(1, 1, 2));
  EXPECT_THROW(export_checkpoint(posix_files(), step(1), path("out")), CheckpointError);
  EXPECT_FALSE(fs::exists(path("out")));
  damage(shard(1, 1, 2));  // the bit is right again
  for (int64_t call = 1, clean = 0; !clean; ++call) {
    ASSERT_LT(call, 100);
    fs::remove(path("out"));
    FailFiles files;
    files.fail_at(call, ENOSPC);
    bool thrown = false;
    try {
      export_checkpoint(files, step(1), path("out"));
    } catch (const Error&) {
      thrown = true;
    }
    clean = !files.failed();
    EXPECT_EQ(files.open_files(), 0) << call;
    EXPECT_TRUE(!thrown || !fs::exists(path("out"))) << call;
    EXPECT_FALSE(fs::exists(path("out.tmp"))) << call;
    if (!thrown) {
      EXPECT_NO_THROW(SafetensorsFile{path("out")}) << call;
    }
  }
}

struct Prune {
  const char* name;
  std::vector<int64_t> damaged;
  int64_t keep;
  Json best;
  Json kept, left, deleted;
};

TEST_F(Tools, PruneKeepsTheNewestThatVerifyAndTheBest) {
  const std::vector<Prune> cases{
      {"newest two", {}, 2, -1, {5, 4}, Json::array(), {3, 2, 1}},
      {"and the best", {}, 2, 2, {5, 4, 2}, Json::array(), {3, 1}},
      {"the best is among them", {}, 2, 4, {5, 4}, Json::array(), {3, 2, 1}},
      {"all", {}, 5, 1, {5, 4, 3, 2, 1}, Json::array(), Json::array()},
      {"more than there are", {}, 9, 1, {5, 4, 3, 2, 1}, Json::array(), Json::array()},
      {"the newest is damaged", {5}, 1, -1, Json::array({4}), Json::array({5}), {3, 2, 1}},
      {"only the oldest verifies", {5, 4, 3, 2}, 1, -1, Json::array({1}), {5, 4, 3, 2}, Json::array()},
      {"none verifies", {5, 4, 3, 2, 1}, 1, -1, Json::array(), {5, 4, 3, 2, 1}, Json::array()},
      {"a best step that is no number", {}, 1, "x", Json::array({5}), Json::array(), {4, 3, 2, 1}},
  };
  for (const auto& c : cases)
    for (const bool dry_run : {true, false}) {
      remove_tree(posix_files(), dir());
      for (const int64_t n : {1, 2, 3, 4, 5}) put(2, n, Flat(static_cast<double>(n)), c.best);
      for (const auto n : c.damaged) damage(shard(n, 1, 2));
      const Json facts = prune_checkpoints(posix_files(), run(), c.keep, dry_run);
      EXPECT_EQ(facts.at("kept"), c.kept) << c.name;
      EXPECT_EQ(steps_of(facts.at("damaged")), c.left) << c.name;
      EXPECT_EQ(facts.at("deleted"), c.deleted) << c.name;
      EXPECT_EQ(checkpoint_steps(posix_files(), dir()).size(), dry_run ? 5 : 5 - c.deleted.size()) << c.name;
      EXPECT_EQ(count(".del-"), 0u) << c.name;
    }
}

/// Whichever call fails: the newest that verified stays, and nothing that is half deleted is called a checkpoint.
TEST_F(Tools, PruneWithFailingCalls) {
  for (int64_t call = 1, clean = 0; !clean; ++call) {
    ASSERT_LT(call, 200);
    remove_tree(posix_files(), dir());
    save(2, {1, 2, 3});
    FailFiles files;
    files.fail_at(call, EIO);
    try {
      prune_checkpoints(files, run(), 1, false);
    } catch (const StorageError&) {
    }
    clean = !files.failed();
    EXPECT_EQ(files.open_files(), 0);
    EXPECT_EQ(load(1), 3) << call;
    for (const auto& entry : verify_checkpoints(posix_files(), run()).at("checkpoints"))
      EXPECT_EQ(entry.at("valid"), true) << call;
  }
}

}  // namespace
}  // namespace fmtrain
