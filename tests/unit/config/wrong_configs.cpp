#include "tests/unit/config/wrong_configs.h"

#include "tests/unit/config/config_folder.h"

namespace fmtrain {
namespace {

constexpr bool kReaderOnly = false;  // a schema sees neither places, nor files, nor one key beside another

const std::string kSections =
    "must be a group of keys (run, model, data, batch, optimizer, schedule, finetune, evaluate, checkpoint, engine, numerics, "
    "report, continual), not ";
const std::string kNoModel =
    "is neither a directory with a config.json nor a name in the model cache home; name the folder of its weights and tokenizer "
    "(launch/setup.sh of the sources fetches that of the example configs)";
const std::string kNoFile = " (looked in the config file's folder and in the working directory)";
const std::string kFreezeForms = "must be none, backbone, {embeddings: true, layers: 3} or a list of name patterns, not ";

std::vector<WrongConfig> wrong_names() {
  const std::string& ok = kLeastConfig;
  return {
      {ok + "lr: 1\n", "3:1: lr: unknown key (did you mean optimizer.lr?)"},
      {ok + "optimzer: {lr: 1}\n", "3:1: optimzer: unknown key (did you mean optimizer?)"},
      {ok + "optimizer:\n  lr: 1\n  lrr: 1\n", "5:3: optimizer.lrr: unknown key (did you mean lr?)"},
      {ok + "batch: {lr: 1}\n", "3:9: batch.lr: unknown key (did you mean optimizer.lr?)"},
      {ok + "batch: {every: 1}\n", "3:9: batch.every: unknown key (did you mean evaluate.every or checkpoint.every?)"},
      {ok + "gradient_accumulation_steps: 2\n", "3:1: gradient_accumulation_steps: unknown key"},
      {ok + "\"sp ace\": 1\n", "3:1: \"sp ace\": unknown key"},
      {ok + "\"\\e[31m\": 1\n", "3:1: \"\\x1b[31m\": unknown key"},
      {ok + "run: {\"\": 1}\n", "3:7: run.\"\": unknown key"},
      {ok + "data.max_length: 5\n", "3:1: data.max_length: is two levels in a file: a section and a key in it"},
      {ok + "data.length: 5\n", "3:1: data.length: unknown key"},
      {ok + "[a, b]: 1\n", "3:1: a key must be a name, not a list", kReaderOnly},
      {ok + "null: 1\n", "3:1: a key must be a name, not nothing", kReaderOnly},
      {ok + "batch: {global: 32, global: 64}\n", "3:21: batch.global: is written twice (first in line 3)", kReaderOnly},
      {ok + "\n\ndata: {train: t.conll}\n", "5:1: data: is written twice (first in line 2)", kReaderOnly},
      {"data: {train: t.conll}\n", "1:1: model.path: is missing (model directory, or a name in the model cache)"},
      {"run: {seed: 1}\nmodel: {path: m}\ndata: {limit: 3}\n",
       "3:1: data.train: is missing (training set: raw text or a prepared .h5)"},
      {ok + "batch: 8\n", "3:8: batch: must be a group of keys (global, micro), not \"8\""},
      {ok + "batch: [8]\n", "3:8: batch: must be a group of keys (global, micro), not a list"},
      {"- a\n", "1:1: " + kSections + "a list"},
      {"text\n", "1:1: " + kSections + "\"text\""},
      {"", "1:1: " + kSections + "nothing"},
      {"# only a comment\n", "1:1: " + kSections + "nothing"},
  };
}

std::vector<WrongConfig> wrong_numbers() {
  const std::string &ok = kLeastConfig, global = ok + "batch: {global: ", lr = ok + "optimizer: {lr: ";
  return {
      {global + "many}\n", "3:17: batch.global: must be a whole number, not \"many\""},
      {global + "'32'}\n", "3:17: batch.global: must be a whole number without quotes, not \"32\""},
      {global + "1e3}\n", "3:17: batch.global: must be a whole number, not \"1e3\" (write 1000)", kReaderOnly},
      {global + "32.0}\n", "3:17: batch.global: must be a whole number, not \"32.0\" (write 32)", kReaderOnly},
      {global + "1.5}\n", "3:17: batch.global: must be a whole number, not \"1.5\""},
      {global + "032}\n",
       "3:17: batch.global: must be a whole number without leading zeros, not \"032\" (YAML readers disagree on it)"},
      {global + "0x20}\n", "3:17: batch.global: must be a whole number, not \"0x20\""},
      {global + "1_024}\n", "3:17: batch.global: must be a whole number, not \"1_024\""},
      {global + "+32}\n", "3:17: batch.global: must be a whole number, not \"+32\""},
      {global + "0}\n", "3:17: batch.global: must be between 1 and 1048576, not 0"},
      {global + "1048592}\n", "3:17: batch.global: must be between 1 and 1048576, not 1048592"},
      {global + "99999999999999999999}\n", "3:17: batch.global: must be a smaller number, not \"99999999999999999999\""},
      {global + "[32]}\n", "3:17: batch.global: must be a whole number, not a list"},
      {global + "}\n", "3:17: batch.global: must not be empty"},
      {ok + "run: {seed: null}\n", "3:13: run.seed: must not be empty"},
      {ok + "run: {seed: -1}\n", "3:13: run.seed: must be at least 0, not -1"},
      {ok + "run: {seed: 9100000000000000}\n", "3:13: run.seed: must be at most 9.0e+15, not 9100000000000000"},
      {ok + "optimizer: {clip_norm: 1e16}\n", "3:24: optimizer.clip_norm: must be at most 9.0e+15, not 1e16"},
      {lr + "fast}\n", "3:17: optimizer.lr: must be a number, not \"fast\""},
      {lr + "\"0.1\"}\n", "3:17: optimizer.lr: must be a number without quotes, not \"0.1\""},
      {lr + ".nan}\n", "3:17: optimizer.lr: must be a finite number, not \".nan\""},
      {lr + "-.Inf}\n", "3:17: optimizer.lr: must be a finite number, not \"-.Inf\""},
      {lr + "infinity}\n", "3:17: optimizer.lr: must be a finite number, not \"infinity\""},
      {lr + "1e999}\n", "3:17: optimizer.lr: must be a smaller number, not \"1e999\""},
      {lr + "00.1}\n",
       "3:17: optimizer.lr: must be a number without leading zeros, not \"00.1\" (YAML readers disagree on it)"},
      {lr + "-0.1}\n", "3:17: optimizer.lr: must be between 0 and 100, not -0.1"},
      {lr + "100.5}\n", "3:17: optimizer.lr: must be between 0 and 100, not 100.5"},
      {lr + "1,5}\n", "3:19: optimizer.5: unknown key"},
      {lr + "{a: 1}}\n", "3:17: optimizer.lr: must be a number, not a group of keys"},
      {ok + "optimizer: {betas: 0.9}\n", "3:20: optimizer.betas: must be two numbers, as [0.9, 0.999]"},
      {ok + "optimizer: {betas: [0.9]}\n", "3:20: optimizer.betas: must be two numbers, as [0.9, 0.999]"},
      {ok + "optimizer: {betas: [0.9, 1.0]}\n", "3:26: optimizer.betas: must be between 0 and 0.999999999, not 1.0"},
      {ok + "optimizer: {eps: 0}\n", "3:18: optimizer.eps: must be between 1.0e-16 and 1, not 0"},
      {ok + "optimizer: {layer_decay: 0}\n", "3:26: optimizer.layer_decay: must be between 0.001 and 1, not 0"},
      {ok + "optimizer: {layer_decay: 1.5}\n", "3:26: optimizer.layer_decay: must be between 0.001 and 1, not 1.5"},
      {ok + "optimizer: {layer_decy: 0.9}\n", "3:13: optimizer.layer_decy: unknown key (did you mean layer_decay?)"},
      {ok + "optimizer: {ema: 1}\n", "3:18: optimizer.ema: must be between 0 and 0.999999999, not 1"},
      {ok + "optimizer: {emma: 0.9}\n", "3:13: optimizer.emma: unknown key (did you mean ema?)"},
      {ok + "finetune: {l2_start: -0.1}\n", "3:22: finetune.l2_start: must be between 0 and 1000, not -0.1"},
      {ok + "finetune: {l2start: 0.1}\n", "3:12: finetune.l2start: unknown key (did you mean l2_start?)"},
      {ok + "evaluate: {every: 0}\n", "3:19: evaluate.every: must be epoch or a whole number of steps from 1, not \"0\""},
      {ok + "evaluate: {every: epochs}\n",
       "3:19: evaluate.every: must be epoch or a whole number of steps from 1, not \"epochs\""},
      {ok + "finetune: {unfreeze_every: 0}\n",
       "3:28: finetune.unfreeze_every: must be epoch or a whole number of steps from 1, not \"0\""},
      {ok + "finetune: {unfreeze_every: layer}\n",
       "3:28: finetune.unfreeze_every: must be epoch or a whole number of steps from 1, not \"layer\""},
      {ok + "engine: {threads: 0}\n", "3:19: engine.threads: must be between 1 and 4096, not 0"},
      {ok + "engine: {threads: all}\n", "3:19: engine.threads: must be a whole number, not \"all\""},
      {ok + "engine: {zero: 4}\n", "3:16: engine.zero: must be between 0 and 3, not 4"},
  };
}

std::vector<WrongConfig> wrong_words() {
  const std::string &ok = kLeastConfig, exact = ok + "numerics: {exact: ", freeze = ok + "finetune: {freeze: ";
  return {
      {exact + "yes}\n", "3:19: numerics.exact: must be true or false, not \"yes\" (write true)"},
      {exact + "no}\n", "3:19: numerics.exact: must be true or false, not \"no\" (write false)"},
      {exact + "On}\n", "3:19: numerics.exact: must be true or false, not \"On\" (write true)"},
      {exact + "OFF}\n", "3:19: numerics.exact: must be true or false, not \"OFF\" (write false)"},
      {exact + "0}\n", "3:19: numerics.exact: must be true or false, not \"0\" (write false)"},
      {exact + "'true'}\n", "3:19: numerics.exact: must be true or false without quotes, not \"true\" (write true)"},
      {exact + "maybe}\n", "3:19: numerics.exact: must be true or false, not \"maybe\""},
      {ok + "optimizer: {name: adam}\n", "3:19: optimizer.name: must be one of adamw, sgd, lamb, not \"adam\" (did you mean adamw?)"},
      {ok + "optimizer: {name: lion}\n", "3:19: optimizer.name: must be one of adamw, sgd, lamb, not \"lion\""},
      {ok + "optimizer: {name: lamp}\n", "3:19: optimizer.name: must be one of adamw, sgd, lamb, not \"lamp\" (did you mean lamb?)"},
      {ok + "optimizer: {name: [sgd]}\n", "3:19: optimizer.name: must be one word, not a list"},
      {ok + "evaluate: {weights: average}\n", "3:21: evaluate.weights: must be one of trained, ema, not \"average\""},
      {ok + "evaluate: {metric: F1}\n",
       "3:20: evaluate.metric: must be one of auto, f1, accuracy, macro_f1, precision, recall, loss, not \"F1\" (did you mean "
       "f1?)"},
      {ok + "engine: {precision: fp8}\n", "3:21: engine.precision: must be one of fp32, bf16, fp16, not \"fp8\""},
      {ok + "engine: {device: cpu, offload: optimizer}\n",
       "3:32: engine.offload: moves what is on a GPU to host memory; with engine.device: cpu there is nothing to move, remove it",
       kReaderOnly},
      {ok + "engine: {recompute: selective}\n",
       "3:21: engine.recompute: must be none, full or {every: k} with k layers from 1, not \"selective\""},
      {ok + "engine: {recompute: {every: 0}}\n",
       "3:21: engine.recompute: must be none, full or {every: k} with k layers from 1, not a group of keys"},
      {ok + "continual: {gate: {slices: words}}\n",
       "3:28: continual.gate.slices: must be a list, as [one, two], not \"words\""},
      {ok + "continual: {gate: {slices: [words>=5, '']}}\n", "3:39: continual.gate.slices: an entry must not be empty"},
      {ok + "run: {dir: 5}\n", "3:12: run.dir: must be text; put quotes around \"5\""},
      {ok + "run: {dir: yes}\n", "3:12: run.dir: must be text; put quotes around \"yes\"", kReaderOnly},
      {ok + "run: {dir: ''}\n", "3:12: run.dir: must not be empty"},
      {ok + "run: {dir: [a]}\n", "3:12: run.dir: must be text, not a list"},
      {ok + "run: {dir: \"a\\tb\"}\n", "3:12: run.dir: holds a control character: \"a\\x09b\"", kReaderOnly},
      {ok + "run: {dir: \"a\\0b\"}\n", "3:12: run.dir: holds a control character: \"a\\x00b\"", kReaderOnly},
      {ok + "run: {dir: \"a\\u0085b\"}\n", "3:12: run.dir: holds a control character: \"a\\xc2\\x85b\"", kReaderOnly},
      {ok + "run: {dir: a\x01}\n", "3:12: run.dir: holds a control character: \"a\\x01\"", kReaderOnly},
      {freeze + "bakbone}\n", "3:20: finetune.freeze: " + kFreezeForms + "\"bakbone\" (did you mean backbone?)"},
      {freeze + "3}\n", "3:20: finetune.freeze: " + kFreezeForms + "\"3\""},
      {freeze + "}\n", "3:20: finetune.freeze: must not be empty"},
      {freeze + "{embeddings: 1}}\n", "3:33: finetune.freeze.embeddings: must be true or false, not \"1\" (write true)"},
      {freeze + "{layer: 3}}\n", "3:21: finetune.freeze.layer: unknown key (did you mean layers?)"},
      {freeze + "{layers: -1}}\n", "3:29: finetune.freeze.layers: must be between 0 and 100000, not -1"},
      {freeze + "{layers: 1, layers: 1}}\n", "3:32: finetune.freeze.layers: is written twice", kReaderOnly},
      {freeze + "{[a]: 1}}\n", "3:21: finetune.freeze.\"\": must be a name, not a list", kReaderOnly},
      {freeze + "[head.*, 5]}\n", "3:29: finetune.freeze: a pattern must be text; put quotes around \"5\""},
      {freeze + "['']}\n", "3:21: finetune.freeze: a pattern must not be empty"},
  };
}

std::vector<WrongConfig> wrong_together() {
  const std::string &ok = kLeastConfig, model = "model: {path: m}\n", data = "data: {train: t.conll}\n";
  return {
      {ok + "batch: {global: 32, micro: 5}\n", "3:28: batch.micro: 5 does not divide batch.global 32", kReaderOnly},
      {ok + "batch: {micro: 64}\n", "3:16: batch.micro: 64 does not divide batch.global 32", kReaderOnly},
      {ok + "batch: {global: 8}\n", "3:17: batch.micro: 16 does not divide batch.global 8", kReaderOnly},
      {ok + "schedule: {warmup: 1.5}\n", "3:20: schedule.warmup: must be a share below 1 or a whole number of steps",
       kReaderOnly},
      {ok + "schedule: {steps: 10, warmup: 20}\n", "3:31: schedule.warmup: is longer than the run of 10 steps", kReaderOnly},
      {ok + "evaluate: {early_stop: {patience: 3}}\n", "3:35: evaluate.early_stop.patience: needs data.validation",
       kReaderOnly},
      {model + "data: {train: d.csv, format: csv}\n", "2:30: data.format: token-classification needs conll or hdf5",
       kReaderOnly},
      {"model: {path: m, task: sequence-classification}\ndata: {format: conll, train: t.conll}\n",
       "2:16: data.format: conll is for token-classification", kReaderOnly},
      {"model: {path: m, pooling: mean}\n" + data, "1:27: model.pooling: is for sequence-classification; remove it",
       kReaderOnly},
      {"finetune: {l2_start: 0.1, freeze: backbone}\n" + model + data,
       "1:22: finetune.l2_start: pulls the backbone, which finetune.freeze keeps as it is; remove one of them", kReaderOnly},
      {ok + "optimizer: {lr: 0.1}\nfinetune: {l2_start: 11}\n",
       "4:22: finetune.l2_start: times optimizer.lr is more than 1: the pull would go past the weights it goes to", kReaderOnly},
      {"finetune: {unfreeze_every: 20, freeze: backbone}\n" + model + data,
       "1:28: finetune.unfreeze_every: trains more and more of the backbone, which finetune.freeze keeps as it is; remove one of them",
       kReaderOnly},
      {ok + "continual: {schedule: hourly}\n",
       "3:23: continual.schedule: \"hourly\" has 1 fields; write manual, daily, weekly, or five fields as in crontab: 30 2 * * 1-5", kReaderOnly},
      {ok + "continual: {drift: {alpha: 0.001}}\n",
       "3:28: continual.drift.permutations: are too few for continual.drift.alpha: no p value could be as small; use at least 999",
       kReaderOnly},
      {ok + "evaluate: {weights: ema}\n", "3:21: evaluate.weights: ema needs optimizer.ema above 0, e.g. 0.999", kReaderOnly},
      {model + "data: {train: none.conll}\n", "2:15: data.train: no file \"none.conll\"" + kNoFile, kReaderOnly},
      {model + "data: {train: folder}\n", "2:15: data.train: \"folder\" is a folder; name a file", kReaderOnly},
      {"model: {path: nobody}\n" + data, "1:15: model.path: model \"nobody\" " + kNoModel, kReaderOnly},
      {"model: {path: folder}\n" + data, "1:15: model.path: model \"folder\" " + kNoModel, kReaderOnly},
  };
}

std::vector<WrongConfig> wrong_yaml() {
  const std::string& ok = kLeastConfig;
  return {
      {ok + "run: &a {seed: 1}\n", "3:6: anchors (&name) are not allowed", kReaderOnly},
      {ok + "run: {dir: &a b, seed: 1}\n", "3:12: anchors (&name) are not allowed", kReaderOnly},
      {ok + "run: *a\n", "3:6: not valid YAML: the referenced anchor is not defined", kReaderOnly},
      {ok + "run: {seed: !!int 1}\n", "3:13: tags (!name) are not allowed", kReaderOnly},
      {ok + "run: !x {seed: 1}\n", "3:6: tags (!name) are not allowed", kReaderOnly},
      {ok + "run:\n  <<: {seed: 1}\n", "4:3: run.\"<<\": merge keys are not allowed; write the values out"},
      {ok + "---\nrun: {seed: 1}\n", "3:1: only one document is allowed (remove ---)", kReaderOnly},
      {ok + "run: {dir: \"a\xff\"}\n", "3:14: invalid UTF-8 or NUL", kReaderOnly},
      {ok + "run: {dir: \"\xc0\xaf\"}\n", "3:13: invalid UTF-8 or NUL", kReaderOnly},
      {ok + std::string("run: {dir: a\0b}\n", 16), "3:13: invalid UTF-8 or NUL", kReaderOnly},
      {ok + "run:\n\tseed: 1\n", "4:1: tabs cannot indent YAML; use spaces", kReaderOnly},
      {ok + "run:\n  \tseed: 1\n", "4:3: tabs cannot indent YAML; use spaces", kReaderOnly},
      {ok + "\trun: {seed: 1}\n", "3:1: tabs cannot indent YAML; use spaces", kReaderOnly},
      {ok + "run: {seed: 1\n", "4:1: not valid YAML: end of map flow not found", kReaderOnly},
      {ok + "run: {dir: \"a}\n", "4:1: not valid YAML: end of map flow not found", kReaderOnly},
      {ok + "run: {dir: " + std::string(40, '[') + std::string(40, ']') + "}\n", "3:42: nested deeper than 32 levels",
       kReaderOnly},
  };
}

}  // namespace

const std::vector<WrongConfig>& wrong_configs() {
  static const std::vector<WrongConfig> all = [] {
    std::vector<WrongConfig> list;
    for (const auto& part : {wrong_names(), wrong_numbers(), wrong_words(), wrong_together(), wrong_yaml()})
      list.insert(list.end(), part.begin(), part.end());
    return list;
  }();
  return all;
}

}  // namespace fmtrain
