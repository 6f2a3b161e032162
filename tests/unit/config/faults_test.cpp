// What is refused, and the words for it.
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/unit/config/config_folder.h"
#include "tests/unit/config/wrong_configs.h"

namespace fmtrain {
namespace {

using ConfigFaults = ConfigFolder;

TEST_F(ConfigFaults, TheLeastConfigIsAccepted) { EXPECT_EQ(load(kLeastConfig).batch.global, 32); }

TEST_F(ConfigFaults, EachIsNamedWithItsPlace) {
  EXPECT_GE(wrong_configs().size(), 45u);
  for (const auto& wrong : wrong_configs()) EXPECT_EQ(refusal(wrong.text), "c.yaml:" + wrong.message) << wrong.text;
}

TEST_F(ConfigFaults, OfOverridesAreNamedWithTheirKey) {
  const struct {
    std::string text, message;
  } cases[] = {
      {"noequals", "must be KEY=VALUE, as optimizer.lr=1e-4, not \"noequals\""},
      {"=1", "must be KEY=VALUE, as optimizer.lr=1e-4, not \"=1\""},
      {"", "must be KEY=VALUE, as optimizer.lr=1e-4, not \"\""},
      {"lr=1", "lr: unknown key (did you mean optimizer.lr?)"},
      {"optimizer.lrr=1", "optimizer.lrr: unknown key (did you mean lr?)"},
      {"optimzer.lr=1", "optimzer.lr: unknown key (did you mean optimizer.lr?)"},
      {"run..seed=1", "run..seed: unknown key (did you mean run.seed?)"},
      {"optimizer.=1", "optimizer.\"\": unknown key"},
      {" optimizer.lr=1", "\" optimizer.lr\": unknown key"},
      {"a b=1", "\"a b\": unknown key"},
      {"optimizer.lr.x=1", "optimizer.lr.x: unknown key (optimizer.lr is one value; set it as a whole)"},
      {"optimizer.lr=fast", "optimizer.lr: must be a number, not \"fast\""},
      {"optimizer.lr=\"1\"", "optimizer.lr: must be a number without quotes, not \"1\""},
      {"optimizer.lr=.nan", "optimizer.lr: must be a finite number, not \".nan\""},
      {"optimizer.lr=", "optimizer.lr: must not be empty"},
      {"optimizer.lr=200", "optimizer.lr: must be between 0 and 100, not 200"},
      {"optimizer.betas=[1", "optimizer.betas: not valid YAML: end of sequence flow not found"},
      {"run.seed=&a 1", "run.seed: anchors (&name) are not allowed"},
      {"run.seed=!!int 1", "run.seed: tags (!name) are not allowed"},
      {"run.dir=a\xff", "run.dir: invalid UTF-8 or NUL"},
      {"run.dir=a: b", "run.dir: must be text, not a group of keys"},
      {"run=5", "run: must be a group of keys (dir, seed, time_limit), not \"5\""},
      {"batch.micro=7", "batch.micro: 7 does not divide batch.global 32"},
      {"data.train=none", "data.train: no file \"none\" (looked in the config file's folder and in the working directory)"},
      {"run.dir=" + std::string((1 << 20) + 1, 'a'), "run.dir: larger than 1 MiB"},
      {"run.dir=" + std::string(40, '['), "run.dir: nested deeper than 32 levels"},
  };
  for (const auto& c : cases) EXPECT_EQ(refusal(kLeastConfig, {c.text}), "--set: " + c.message) << c.text.substr(0, 60);
}

TEST_F(ConfigFaults, AllOfAFileAreListedInItsOrderThenOverrides) {
  const std::string text =
      "batch: {micro: 0}\nmodel: {path: m, task: token-clasification}\nruns: {seed: 1}\n"
      "data:\n  train: t.conll\n  max_lenght: 64\n  limit: '5'\noptimizer: {lr: -1, eps: x}\nrun: {seed: 1, seed: 2}\n";
  EXPECT_EQ(refusal(text, {"run.seed=x", "batch.global=7"}),
            "c.yaml:1:16: batch.micro: must be between 1 and 1048576, not 0\n"
            "c.yaml:2:24: model.task: must be one of token-classification, sequence-classification, not "
            "\"token-clasification\" (did you mean token-classification?)\n"
            "c.yaml:3:1: runs: unknown key (did you mean run?)\n"
            "c.yaml:6:3: data.max_lenght: unknown key (did you mean max_length?)\n"
            "c.yaml:7:10: data.limit: must be a whole number without quotes, not \"5\"\n"
            "c.yaml:8:17: optimizer.lr: must be between 0 and 100, not -1\n"
            "c.yaml:8:26: optimizer.eps: must be a number, not \"x\"\n"
            "c.yaml:9:16: run.seed: is written twice (first in line 9)\n"
            "--set: run.seed: must be a whole number, not \"x\"");
}

TEST_F(ConfigFaults, AtMostFiftyLines) {
  std::string keys;
  for (int i = 0; i < 50; ++i) keys += "zz" + std::to_string(100 + i) + ": 1\n";
  const auto lines = [](const std::string& message) { return std::count(message.begin(), message.end(), '\n') + 1; };
  const auto fifty = refusal(kLeastConfig + keys), more = refusal(kLeastConfig + keys + "zz200: 1\n");
  EXPECT_EQ(lines(fifty), 50);
  EXPECT_THAT(fifty, testing::EndsWith("\nc.yaml:52:1: zz149: unknown key"));
  EXPECT_EQ(lines(more), 50);
  EXPECT_THAT(more, testing::EndsWith("\nc.yaml:51:1: zz148: unknown key\n... and 2 more"));
}

TEST_F(ConfigFaults, ABillionAliasesEndAtTheFirst) {
  std::string bomb = "run:\n  dir: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 20; ++i) {
    bomb += "k" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 9; ++j) bomb += (j ? ", *a" : "*a") + std::to_string(i - 1);
    bomb += "]\n";
  }
  EXPECT_EQ(refusal(bomb),
            "c.yaml:2:8: anchors (&name) are not allowed\n"
            "c.yaml:3:5: anchors (&name) are not allowed\n"
            "c.yaml:3:10: aliases (*name) are not allowed; write the value out");
}

TEST_F(ConfigFaults, OfTheFileItself) {
  const auto refused = [&](const std::string& name) -> std::string {
    try {
      load_config(path(name), {});
    } catch (const ConfigError& error) {
      return without_folder(error.what());
    }
    return "(accepted)";
  };
  EXPECT_EQ(refused("none.yaml"), "none.yaml: no such config file");
  EXPECT_EQ(refused("folder"), "folder: is a folder; name a config file in it");
  EXPECT_EQ(refused("a\nb.yaml"), "\"a\\x0ab.yaml\": control characters are not allowed in the name of a config file");
  write("large.yaml", kLeastConfig + std::string((1 << 20) + 1 - kLeastConfig.size(), '#'));
  EXPECT_EQ(refused("large.yaml"), "large.yaml: larger than 1 MiB, the limit for config files");
  write("largest.yaml", kLeastConfig + std::string((1 << 20) - kLeastConfig.size(), '#'));
  EXPECT_EQ(refused("largest.yaml"), "(accepted)");
}

TEST_F(ConfigFaults, WhatLooksOddButIsRight) {
  const std::string cases[] = {
      "\xef\xbb\xbf" + kLeastConfig,                                         // a byte order mark
      "%YAML 1.2\n---\n" + kLeastConfig + "...\n",                           // one document, said at length
      "model: {path: m}\r\ndata: {train: t.conll}\r\n",                      // Windows' line ends
      "{\"model\": {\"path\": \"m\"}, \"data\": {\"train\": \"t.conll\"}}",  // JSON
      kLeastConfig + "run:\n",                                               // a section without keys
      kLeastConfig + "optimizer: {lr: 1e-400}\n",                            // an underflow is 0
  };
  for (const auto& text : cases) EXPECT_EQ(refusal(text), "(accepted)") << text;
}

}  // namespace
}  // namespace fmtrain
