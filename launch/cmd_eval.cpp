#include <cstdio>

#include "comm/communicator.h"
#include "launch/commands.h"
#include "launch/trial_read.h"
#include "runtime/data/prepare.h"
#include "runtime/errors.h"
#include "runtime/evaluator.h"
#include "runtime/metrics/report_text.h"
#include "runtime/model_dir.h"

namespace fmtrain {
namespace {

struct EvalOptions {
  std::string model, data, split = "test";
  Columns columns;
  bool json = false;
};

int evaluate_file(const EvalOptions& o) {
  const std::string dir = resolve_model(o.model);
  auto loaded = load_finetuned(dir, Precision::kFp32);
  const auto tokenizer = load_tokenizer(dir);
  PrepareOptions prepare;
  prepare.task = loaded.model->config().task;
  prepare.split = o.split;
  prepare.columns = o.columns;
  prepare.max_length = loaded.fmtrain.value("max_length", int64_t{128});
  prepare.labels = loaded.labels;
  trial_read(o.data);
  const auto data = open_dataset(prepared_in_cache(o.data, prepare, *tokenizer), tokenizer->vocab_size());
  if (data->info().labels != loaded.labels || data->info().task != prepare.task) throw DataError(o.data + ": was prepared for another task or other labels than the model's");
  const auto comm = make_single_communicator();
  const Json result = evaluate(*loaded.model, *data, *comm, 1000);
  std::printf("%s\n", o.json ? result.dump(1).c_str() : evaluation_text(result).c_str());
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("eval", "Metrics of a fine-tuned model directory on a raw or prepared file.\n"
                                             "Example: fmtrain eval runs/ner_wnut17/model data/wnut17/test.conll");
  const auto o = std::make_shared<EvalOptions>();
  command->add_option("MODEL", o->model, "the model/ directory of a run")->required();
  command->add_option("DATA", o->data, "raw text or a prepared .h5")->required();
  command->add_option("--split", o->split, "CLINC150: train, val or test");
  command->add_option("--text-column", o->columns.text, "csv, tsv, jsonl: column with the text");
  command->add_option("--label-column", o->columns.label, "csv, tsv, jsonl: column with the label");
  command->add_flag("--json", o->json, "print all figures as JSON");
  command->callback([&action, o] { action = [o] { return evaluate_file(*o); }; });
}

}  // namespace fmtrain
