// Every key: its default, the field it sets, whether it is part of the computation; the texts made from the table.
#include <gmock/gmock.h>

#include <fstream>
#include <functional>
#include <sstream>

#include "runtime/config/keys.h"
#include "tests/unit/config/config_folder.h"

namespace fmtrain {
namespace {

struct KeyCase {
  std::string path, standard, other;          ///< default and another legal value; no other: this version has only one
  std::function<bool(const Config&)> is_set;  ///< the field has the other value
  bool computes;                              ///< fixes the computation
  std::vector<std::string> with = {};         ///< what the other value needs
};

constexpr bool kComputes = true, kFree = false;

std::vector<KeyCase> input_keys() {
  using C = const Config&;
  const auto ends = [](const std::string& s, const char* end) { return s.ends_with(end); };
  return {
      {"run.dir", "null", "else", [](C c) { return c.run.dir == "else"; }, kFree},
      {"run.seed", "1", "7", [](C c) { return c.run.seed == 7; }, kComputes},
      {"run.time_limit", "null", "60.5", [](C c) { return c.run.time_limit == 60.5; }, kFree},
      {"model.path", "null", "m2", [=](C c) { return ends(c.model.path, "/m2"); }, kFree},
      {"model.task", "token-classification", "sequence-classification",
       [](C c) { return c.model.task == Task::kSequenceClassification; }, kComputes},
      {"model.pooling",
       "pooler",
       "mean",
       [](C c) { return c.model.pooling == Pooling::kMean; },
       kComputes,
       {"model.task=sequence-classification"}},
      {"model.dropout.hidden", "0.1", "0.2", [](C c) { return c.model.dropout.hidden == 0.2; }, kComputes},
      {"model.dropout.attention", "0.1", "0.2", [](C c) { return c.model.dropout.attention == 0.2; }, kComputes},
      {"model.dropout.head", "0.1", "0.2", [](C c) { return c.model.dropout.head == 0.2; }, kComputes},
      {"model.init", "pretrained", "random", [](C c) { return c.model.init == Init::kRandom; }, kComputes},
      {"data.train", "null", "v.conll", [=](C c) { return ends(c.data.train, "/v.conll"); }, kFree},
      {"data.validation", "null", "v.conll", [=](C c) { return ends(c.data.validation, "/v.conll"); }, kFree},
      {"data.test", "null", "v.conll", [=](C c) { return ends(c.data.test, "/v.conll"); }, kFree},
      {"data.format", "auto", "conll", [](C c) { return c.data.format == Format::kConll; }, kComputes},
      {"data.columns.text", "text", "body", [](C c) { return c.data.columns.text == "body"; }, kComputes},
      {"data.columns.label", "label", "class", [](C c) { return c.data.columns.label == "class"; }, kComputes},
      {"data.columns.word", "0", "2", [](C c) { return c.data.columns.word == 2; }, kComputes},
      {"data.columns.tag", "-1", "-2", [](C c) { return c.data.columns.tag == -2; }, kComputes},
      {"data.max_length", "128", "64", [](C c) { return c.data.max_length == 64; }, kComputes},
      {"data.overlong", "split", "error", [](C c) { return c.data.overlong == Overlong::kError; }, kComputes},
      {"data.order", "random", "length_grouped", [](C c) { return c.data.order == Order::kLengthGrouped; }, kComputes},
      {"data.limit", "null", "10", [](C c) { return c.data.limit == 10; }, kComputes},
  };
}

std::vector<KeyCase> training_keys() {
  using C = const Config&;
  return {
      {"batch.global", "32", "64", [](C c) { return c.batch.global == 64; }, kComputes},
      {"batch.micro", "16", "8", [](C c) { return c.batch.micro == 8; }, kComputes},
      {"optimizer.name", "adamw", "sgd", [](C c) { return c.optimizer.name == OptimizerName::kSgd; }, kComputes},
      {"optimizer.lr", "2.0e-4", "0.5", [](C c) { return c.optimizer.lr == 0.5; }, kComputes},
      {"optimizer.weight_decay", "0.01", "0.5", [](C c) { return c.optimizer.weight_decay == 0.5; }, kComputes},
      {"optimizer.betas", "[0.9, 0.999]", "[0.8, 0.98]",
       [](C c) { return c.optimizer.beta1 == 0.8 && c.optimizer.beta2 == 0.98; }, kComputes},
      {"optimizer.eps", "1.0e-8", "0.5", [](C c) { return c.optimizer.eps == 0.5; }, kComputes},
      {"optimizer.momentum", "0.9", "0.5", [](C c) { return c.optimizer.momentum == 0.5; }, kComputes},
      {"optimizer.clip_norm", "1", "0.5", [](C c) { return c.optimizer.clip_norm == 0.5; }, kComputes},
      {"optimizer.layer_decay", "1", "0.5", [](C c) { return c.optimizer.layer_decay == 0.5; }, kComputes},
      {"optimizer.ema", "0", "0.5", [](C c) { return c.optimizer.ema == 0.5; }, kComputes},
      {"schedule.name", "linear", "cosine", [](C c) { return c.schedule.name == ScheduleName::kCosine; }, kComputes},
      {"schedule.warmup", "0.1", "5", [](C c) { return c.schedule.warmup == 5; }, kComputes},
      {"schedule.epochs", "3", "0.5", [](C c) { return c.schedule.epochs == 0.5; }, kComputes},
      {"schedule.steps", "null", "9", [](C c) { return c.schedule.steps == 9; }, kComputes},
      {"finetune.freeze", "none", "backbone", [](C c) { return c.finetune.freeze_backbone; }, kComputes},
      {"finetune.unfreeze_every", "null", "epoch", [](C c) { return c.finetune.unfreeze_every && c.finetune.unfreeze_every->steps == 0; }, kComputes},
      {"finetune.l2_start", "0", "0.5", [](C c) { return c.finetune.l2_start == 0.5; }, kComputes},
  };
}

std::vector<KeyCase> system_keys() {
  using C = const Config&;
  return {
      {"evaluate.every", "epoch", "5", [](C c) { return c.evaluate.every.steps == 5; }, kComputes},
      {"evaluate.metric", "auto", "loss", [](C c) { return c.evaluate.metric == "loss"; }, kComputes},
      {"evaluate.weights", "trained", "ema", [](C c) { return c.evaluate.weights == Weights::kEma; }, kComputes, {"optimizer.ema=0.9"}},
      {"evaluate.early_stop.patience",
       "null",
       "2",
       [](C c) { return c.evaluate.patience == 2; },
       kComputes,
       {"data.validation=v.conll"}},
      {"evaluate.early_stop.min_delta", "0", "0.5", [](C c) { return c.evaluate.min_delta == 0.5; }, kComputes},
      {"checkpoint.every", "epoch", "5", [](C c) { return c.checkpoint.every.steps == 5; }, kFree},
      {"checkpoint.seconds", "1800", "60", [](C c) { return c.checkpoint.seconds == 60; }, kFree},
      {"checkpoint.keep", "3", "5", [](C c) { return c.checkpoint.keep == 5; }, kFree},
      {"checkpoint.async", "true", "false", [](C c) { return !c.checkpoint.async; }, kFree},
      {"engine.device", "auto", "cpu", [](C c) { return c.engine.device == Device::kCpu; }, kFree},
      {"engine.zero", "1", "2", [](C c) { return c.engine.zero == 2; }, kFree},
      {"engine.shard_group", "world", "node", [](C c) { return c.engine.shard_group == ShardGroup::kNode; }, kFree},
      {"engine.precision", "fp32", "bf16", [](C c) { return c.engine.precision == Precision::kBf16; }, kComputes},
      {"engine.offload", "none", "optimizer", [](C c) { return c.engine.offload == Offload::kOptimizer; }, kFree},
      {"engine.recompute", "none", "{every: 2}", [](C c) { return c.engine.recompute.layers == 2; }, kFree},
      {"engine.threads", "auto", "2", [](C c) { return c.engine.threads == 2; }, kFree},
      {"numerics.exact", "true", "false", [](C c) { return !c.numerics.exact; }, kComputes},
      {"report.progress", "auto", "off", [](C c) { return c.report.progress == Progress::kOff; }, kFree},
      {"report.tensorboard", "true", "false", [](C c) { return !c.report.tensorboard; }, kFree},
      {"report.bootstrap", "1000", "5", [](C c) { return c.report.bootstrap == 5; }, kFree},
  };
}

std::vector<KeyCase> continual_keys() {
  const auto c = [](const char* path, const char* standard, const char* other,
                    std::function<bool(const ContinualSection&)> is_set) {
    return KeyCase{std::string("continual.") + path, standard, other, [=](const Config& config) { return is_set(config.continual); },
                   kFree};
  };
  using S = const ContinualSection&;
  return {
      c("registry", "null", "r", [](S s) { return s.registry == "r"; }),
      c("incoming", "null", "in", [](S s) { return s.incoming == "in"; }),
      c("schedule", "weekly", "daily", [](S s) { return s.schedule == "daily"; }),
      c("window", "1000", "2000", [](S s) { return s.window == 2000; }),
      c("drift.alpha", "0.01", "0.02", [](S s) { return s.drift.alpha == 0.02; }),
      c("drift.permutations", "500", "600", [](S s) { return s.drift.permutations == 600; }),
      c("drift.consecutive", "2", "3", [](S s) { return s.drift.consecutive == 3; }),
      c("replay.share", "0.25", "0.5", [](S s) { return s.replay.share == 0.5; }),
      c("replay.capacity", "50000", "100", [](S s) { return s.replay.capacity == 100; }),
      c("gate.core_margin", "0.01", "0.02", [](S s) { return s.gate.core_margin == 0.02; }),
      c("gate.slices", "[]", "[words>=20, contains=vaccine]",
        [](S s) { return s.gate.slices == std::vector<std::string>{"words>=20", "contains=vaccine"}; }),
      c("gate.bootstrap", "10000", "1000", [](S s) { return s.gate.bootstrap == 1000; }),
      c("gate.latency", "null", "5", [](S s) { return s.gate.latency == 5; }),
      c("gate.size", "null", "90.5", [](S s) { return s.gate.size == 90.5; }),
      c("brakes.min_hours", "24", "1", [](S s) { return s.brakes.min_hours == 1; }),
      c("brakes.max_per_week", "7", "3", [](S s) { return s.brakes.max_per_week == 3; }),
      c("brakes.cooldown_hours", "48", "0", [](S s) { return s.brakes.cooldown_hours == 0; }),
      c("challenger.from", "auto", "base", [](S s) { return s.challenger.from == ChallengerStart::kBase; }),
      c("challenger.lr_scale", "0.3", "1", [](S s) { return s.challenger.lr_scale == 1; }),
      c("challenger.warmup", "0.06", "10", [](S s) { return s.challenger.warmup == 10; }),
      c("challenger.l2_start", "0.01", "0", [](S s) { return s.challenger.l2_start == 0; }),
  };
}

std::vector<KeyCase> all_keys() {
  std::vector<KeyCase> all;
  for (const auto& part : {input_keys(), training_keys(), system_keys(), continual_keys()}) all.insert(all.end(), part.begin(), part.end());
  return all;
}

std::string source_file(const std::string& name) {
  std::ostringstream text;
  text << std::ifstream(std::string(FMTRAIN_SOURCE_DIR) + "/" + name, std::ios::binary).rdbuf();
  return text.str();
}

class ConfigKeys : public ConfigFolder {
 protected:
  void SetUp() override {
    ConfigFolder::SetUp();
    std::filesystem::create_directory(path("m2"));
    write("m2/config.json", "{}");
  }
  /// The least config with the other value of `c`, or with its default.
  Config with(const KeyCase& c, bool other) const {
    auto overrides = c.with;
    if (other) overrides.push_back(c.path + "=" + c.other);
    return load(kLeastConfig, overrides);
  }
};

TEST_F(ConfigKeys, TheTableIsComplete) {
  std::vector<std::string> here, there;
  for (const auto& c : all_keys()) here.push_back(c.path);
  for (const auto& k : config_keys()) there.push_back(k.path);
  EXPECT_EQ(here, there);
}

TEST_F(ConfigKeys, EachHasItsDefaultAndSetsItsField) {
  const Config defaults;
  for (const auto& c : all_keys()) {
    SCOPED_TRACE(c.path);
    const Key* key = find_key(c.path);
    ASSERT_NE(key, nullptr);
    EXPECT_EQ(key->get(defaults), c.standard);
    if (!c.is_set) continue;
    const Config before = with(c, false), changed = with(c, true);
    EXPECT_FALSE(c.is_set(before));
    EXPECT_TRUE(c.is_set(changed));
    EXPECT_EQ(changed.origin.at(c.path), "--set");
    for (const auto& k : config_keys())  // and no other field
      EXPECT_EQ(k.get(changed) != k.get(before), k.path == c.path) << k.path;
  }
}

TEST_F(ConfigKeys, TheHashChangesWithWhatFixesTheComputationAlone) {
  for (const auto& c : all_keys()) {
    SCOPED_TRACE(c.path);
    EXPECT_EQ(find_key(c.path)->fixes_computation, c.computes);
    if (!c.is_set) continue;
    const Config before = with(c, false), after = with(c, true);
    EXPECT_EQ(computation_hash(before) != computation_hash(after), c.computes);
    const auto a = computation_lines(before), b = computation_lines(after);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i] != b[i], b[i].starts_with(c.path + "=")) << a[i] << " -> " << b[i];
  }
  Config sharded = load(kLeastConfig);
  const auto hash = computation_hash(sharded);
  EXPECT_THAT(hash, testing::MatchesRegex("[0-9a-f]{64}"));
  sharded.engine.zero = 2;
  sharded.engine.recompute.layers = 1;
  sharded.name = "else";
  EXPECT_EQ(computation_hash(sharded), hash);
}

TEST_F(ConfigKeys, FreezeHasFourForms) {
  const auto freeze = [&](const std::string& value) {
    return load(kLeastConfig + "finetune: {freeze: " + value + "}").finetune;
  };
  EXPECT_TRUE(freeze("backbone").freeze_backbone);
  EXPECT_FALSE(freeze("none").freeze_backbone);
  const auto part = freeze("{embeddings: true, layers: 3}");
  EXPECT_TRUE(part.freeze_embeddings);
  EXPECT_EQ(part.freeze_layers, 3);
  EXPECT_EQ(freeze("{layers: 2}").freeze_embeddings, false);
  EXPECT_EQ(freeze("[\"*.bias\", head.*]").patterns, (std::vector<std::string>{"*.bias", "head.*"}));
}

TEST_F(ConfigKeys, UnfreezeHasThreeForms) {
  const auto every = [&](const std::string& value) { return load(kLeastConfig + "finetune: {unfreeze_every: " + value + "}").finetune.unfreeze_every; };
  EXPECT_FALSE(every("null").has_value());
  ASSERT_TRUE(every("epoch").has_value());
  EXPECT_EQ(every("epoch")->steps, 0);
  EXPECT_EQ(every("20")->steps, 20);
}

TEST_F(ConfigKeys, OverridesGoBeforeTheFileAndTheLastOneCounts) {
  const auto config = load(kLeastConfig + "run: {seed: 5}\noptimizer:\n  lr: 0.5\n", {"run.seed=6", "run.seed=7"});
  EXPECT_EQ(config.run.seed, 7u);
  EXPECT_EQ(config.origin.at("run.seed"), "--set");
  EXPECT_EQ(config.origin.at("optimizer.lr"), path("c.yaml") + ":5");
  EXPECT_EQ(config.origin.count("optimizer.eps"), 0u);
  EXPECT_EQ(config.name, "c");
  EXPECT_EQ(config.run.dir, "runs/c");
}

TEST_F(ConfigKeys, PathsAreFoundBesideTheFileThenFromTheWorkingDirectory) {
  std::filesystem::create_directories(path("sub/m"));
  write("sub/m/config.json", "{}");
  write("sub/t.conll", "b O\n");
  write("sub/c.yaml", kLeastConfig + "run: {dir: out}\n");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder_);
  const auto beside = load_config("sub/c.yaml", {"data.test=v.conll", "data.validation=" + path("v.conll")});
  std::filesystem::current_path(before);
  EXPECT_EQ(beside.data.train, path("sub/t.conll"));
  EXPECT_EQ(beside.data.test, path("v.conll"));
  EXPECT_EQ(beside.data.validation, path("v.conll"));
  EXPECT_EQ(beside.model.path, path("sub/m"));
  EXPECT_EQ(beside.run.dir, "out");
}

TEST_F(ConfigKeys, ANameInTheModelCacheStaysAName) {
  std::filesystem::create_directories(path("home/cached"));
  write("home/cached/config.json", "{}");
  EXPECT_EQ(load("model: {path: cached}\ndata: {train: t.conll}\n").model.path, "cached");
}

TEST_F(ConfigKeys, TheReferenceInTheTreeIsWhatTheTableSays) {
  EXPECT_EQ(source_file("configs/reference.yaml"), reference_yaml());
}

TEST_F(ConfigKeys, TheReferenceShowsTheDefaults) {
  const Config shown = load(reference_yaml(), {"model.path=m", "data.train=t.conll"});
  for (const auto& key : config_keys()) {
    if (!key.example.empty()) continue;
    const bool named = key.path == "run.dir";  // null: after the config file
    EXPECT_EQ(key.get(shown), named ? "runs/c" : key.get(Config{})) << key.path;
    EXPECT_EQ(shown.origin.count(key.path), 1u) << key.path;
  }
}

TEST_F(ConfigKeys, TheReferenceLoadsWhereItStands) {
  std::filesystem::create_directories(path("home/all-MiniLM-L6-v2"));
  write("home/all-MiniLM-L6-v2/config.json", "{}");
  EXPECT_EQ(load_config(std::string(FMTRAIN_SOURCE_DIR) + "/configs/reference.yaml", {}).name, "reference");
}

TEST_F(ConfigKeys, ThePageHoldsTheTable) {
  EXPECT_THAT(source_file("docs/config.md"), testing::HasSubstr("\n\n" + config_table()));
}

}  // namespace
}  // namespace fmtrain
