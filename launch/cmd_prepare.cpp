#include <cstdio>
#include <map>

#include "launch/commands.h"
#include "launch/trial_read.h"
#include "runtime/data/dataset.h"
#include "runtime/data/prepare.h"
#include "runtime/errors.h"
#include "runtime/json.h"
#include "runtime/model_path.h"
#include "runtime/run_inputs.h"

namespace fmtrain {
namespace {

const std::map<std::string, Task> kTasks{{"token-classification", Task::kTokenClassification}, {"sequence-classification", Task::kSequenceClassification}};
const std::map<std::string, Format> kFormats{{"auto", Format::kAuto}, {"conll", Format::kConll}, {"csv", Format::kCsv},
                                             {"tsv", Format::kTsv},   {"jsonl", Format::kJsonl}, {"clinc150", Format::kClinc150}};
const std::map<std::string, Overlong> kOverlong{{"split", Overlong::kSplit}, {"truncate", Overlong::kTruncate}, {"error", Overlong::kError}};

constexpr const char* kPrepareHelp =
    "Text and labels to one HDF5 file of tokens, once, before many runs. (A config may also name the raw files: a run then\n"
    "prepares them into the cache.) With a config: its files, into the cache. docs/data.md describes formats and file.\n"
    "Examples: fmtrain prepare configs/ner_wnut17.yaml\n"
    "          fmtrain prepare --model all-MiniLM-L6-v2 --task token-classification data/wnut17/train.conll -o train.h5\n"
    "          fmtrain prepare --model all-MiniLM-L6-v2 --task token-classification data/wnut17/dev.conll -o dev.h5 --labels-of train.h5";

struct PrepareArguments {
  std::string input, model, output, labels_of;
  std::vector<std::string> overrides;
  PrepareOptions prepare;
  bool json = false;
};

void print_summary(const std::string& name, const std::string& file, const DatasetInfo& info, int64_t samples, bool json) {
  if (json) {
    const Json facts{{"name", name}, {"file", file}, {"texts", info.texts}, {"samples", samples}, {"tokens", info.tokens},
                     {"truncated_texts", info.truncated_texts}, {"lost_words", info.lost_words}, {"labels", info.labels}, {"sha256", info.file_sha256}};
    std::printf("%s\n", facts.dump().c_str());
    return;
  }
  std::printf("%-11s %s: %lld texts, %lld samples, %lld tokens, %zu labels", name.c_str(), file.c_str(), static_cast<long long>(info.texts),
              static_cast<long long>(samples), static_cast<long long>(info.tokens), info.labels.size());
  if (info.truncated_texts > 0) std::printf(", %lld texts truncated (%lld words lost)", static_cast<long long>(info.truncated_texts), static_cast<long long>(info.lost_words));
  std::printf("\n");
}

int prepare_config(const PrepareArguments& o) {
  const Config config = load_config(o.input, o.overrides);
  trial_read(config);
  const auto vocab = load_tokenizer(resolve_model(config.model.path))->vocab_size();
  for (const auto& [name, file] : prepare_inputs(config)) {
    const auto data = open_dataset(file, vocab);
    print_summary(name, file, data->info(), data->size(), o.json);
  }
  return 0;
}

int prepare(const PrepareArguments& o) {
  if (o.input.ends_with(".yaml") || o.input.ends_with(".yml")) return prepare_config(o);
  if (o.model.empty() || o.output.empty()) throw ConfigError("prepare: a raw file needs --model and -o (see fmtrain prepare --help)");
  const auto tokenizer = load_tokenizer(resolve_model(o.model));
  PrepareOptions options = o.prepare;
  trial_read(o.labels_of);
  if (!o.labels_of.empty()) options.labels = open_dataset(o.labels_of, tokenizer->vocab_size())->info().labels;
  prepare_file(o.input, options, *tokenizer, o.output);
  const auto data = open_dataset(o.output, tokenizer->vocab_size());
  print_summary("prepared", o.output, data->info(), data->size(), o.json);
  return 0;
}

}  // namespace

void add_prepare(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("prepare", kPrepareHelp);
  const auto o = std::make_shared<PrepareArguments>();
  command->add_option("INPUT", o->input, "config file, or a raw file: CoNLL columns, csv, tsv, jsonl, CLINC150 JSON")->required();
  command->add_option("-o,--output", o->output, "HDF5 file to write");
  command->add_option("--model", o->model, "model directory, or a name in the model cache: the tokenizer");
  command->add_option("--task", o->prepare.task, "token-classification (default) or sequence-classification")->transform(CLI::CheckedTransformer(kTasks))->default_str("token-classification");
  command->add_option("--format", o->prepare.format, "auto, conll, csv, tsv, jsonl, clinc150")->transform(CLI::CheckedTransformer(kFormats))->default_str("auto");
  command->add_option("--split", o->prepare.split, "CLINC150: train, val or test");
  command->add_option("--text-column", o->prepare.columns.text, "csv, tsv, jsonl")->capture_default_str();
  command->add_option("--label-column", o->prepare.columns.label, "csv, tsv, jsonl")->capture_default_str();
  command->add_option("--word-column", o->prepare.columns.word, "CoNLL: number from 0, negative from the end")->capture_default_str();
  command->add_option("--tag-column", o->prepare.columns.tag, "CoNLL")->capture_default_str();
  command->add_option("--max-length", o->prepare.max_length, "tokens of a sample, special tokens included")->check(CLI::Range(4, 1 << 20))->capture_default_str();
  command->add_option("--overlong", o->prepare.overlong, "split, truncate or error")->transform(CLI::CheckedTransformer(kOverlong))->default_str("split");
  command->add_option("--labels-of", o->labels_of, "take the label numbers of this prepared file (the training set's)");
  command->add_option("--set", o->overrides, "KEY=VALUE, overrides a key of a config; may be repeated")->allow_extra_args(false);
  command->add_flag("--json", o->json, "one JSON object a file");
  command->callback([&action, o] { action = [o] { return prepare(*o); }; });
}

}  // namespace fmtrain
