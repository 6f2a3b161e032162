// Hugging Face model directories: read config and weights with every tensor accounted for, write the result of a run.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/task_model.h"
#include "runtime/file_ops.h"
#include "runtime/json.h"
#include "runtime/model_path.h"

namespace fmtrain {

/// The shape in config.json (BERT family). Task, labels, dropout and precision are left to the caller. Throws ConfigError.
ModelConfig read_model_config(const std::string& dir);

struct LoadedWeights {
  std::string sha256;              ///< of model.safetensors
  std::vector<std::string> notes;  ///< ignored tensors and new parameters, a line each
};

/// Labels by the rows of a head.
struct HeadLabels {
  std::vector<std::string> stored;  ///< in the directory; empty: a head of another task
  std::vector<std::string> wanted;  ///< in the model
};

/// Labels of the head in `dir` by its rows, where write_model_dir wrote it for `task`; empty: for another task; absent: it has
/// no fmtrain.json, so nobody knows. Throws ConfigError where fmtrain.json cannot be used.
std::optional<std::vector<std::string>> stored_labels(const std::string& dir, Task task);

/// All of `before` in their order, then those of `found` that are new. Of a tagger's labels pairs stay together.
std::vector<std::string> grown_labels(std::vector<std::string> before, const std::vector<std::string>& found);

/// The trained parameters lie in memory that `of` ranks share: this one, number `index`, writes every of-th piece of the encoder's. It
/// reads, checks and hashes all of the file.
struct WritingShare {
  int index = 0, of = 1;
};

/// Fill `model` from dir/model.safetensors. Names with and without "bert.", and gamma/beta for norms, are accepted. Every
/// tensor of the file is used or listed as ignored, every parameter is loaded or a new head; else ConfigError. With `head`,
/// rows of the classifier are found by their labels: a label that is not stored keeps its row's initial values. Without, a
/// classifier of another shape is a new head.
LoadedWeights load_weights(TaskModel& model, const std::string& dir, const std::optional<HeadLabels>& head = {});
/// The same without parameters_changed(), which is for the caller to say once all shares are written.
LoadedWeights load_share(TaskModel& model, const std::string& dir, const std::optional<HeadLabels>& head, WritingShare share);

/// SHA-256 over the parameters in name order: name, shape, fp32 bytes.
std::string weights_sha256(TaskModel& model);

/// Write a directory that transformers loads: config.json, model.safetensors, tokenizer files of `base_dir`, fmtrain.json.
/// Keys that name code (auto_map, custom_pipelines) are left out. Files have mode 0600, directories 0700. Written beside `dir`
/// first, then the two names are exchanged, so that `dir` always holds a whole model; where the file system cannot do that, the
/// old one is moved aside and comes back if the new one cannot take its place. Throws StorageError.
void write_model_dir(const std::string& dir, TaskModel& model, const std::vector<std::string>& labels, const std::string& base_dir, Json fmtrain,
                     FileOps& files = posix_files());

/// A directory written by write_model_dir. Throws ConfigError, also for values in fmtrain.json of a wrong type or range.
struct FinetunedModel {
  std::unique_ptr<TaskModel> model;
  std::vector<std::string> labels;
  Json fmtrain;  ///< fmtrain.json
};
FinetunedModel load_finetuned(const std::string& dir, Precision precision);

}  // namespace fmtrain
