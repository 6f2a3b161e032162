// A random BERT over the small tokenizer, and a model directory of it.
#pragma once
#include <ATen/ATen.h>

#include "models/task_model.h"
#include "runtime/model_dir.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/text/small_tokenizer.h"

namespace fmtrain {

inline ModelConfig tiny_shape(Task task, int64_t labels) {
  ModelConfig c;
  c.vocab_size = 60;
  c.hidden_size = 16;
  c.layers = 2;
  c.heads = 2;
  c.intermediate_size = 32;
  c.max_positions = 16;
  c.initializer_range = 0.3;  // so that predictions differ from token to token
  c.task = task;
  c.labels = labels;
  return c;
}

inline Json tiny_config_json() {
  return {{"model_type", "bert"},    {"hidden_act", "gelu"},          {"vocab_size", 60},
          {"hidden_size", 16},       {"num_hidden_layers", 2},        {"num_attention_heads", 2},
          {"intermediate_size", 32}, {"max_position_embeddings", 16}, {"type_vocab_size", 2}};
}

/// Model `seed` with its directory base/ (config.json and tokenizer) and, once written, model/.
class TinyModelFolder : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    tokenizer_ = small_tokenizer(folder_ / "base");
    write("base/config.json", tiny_config_json().dump());
  }
  void write_model(TaskModel& model, const std::vector<std::string>& labels, FileOps& files = posix_files()) const {
    const bool tagging = model.config().task == Task::kTokenClassification;
    write_model_dir(path("model"), model, labels, path("base"),
                    Json{{"task", tagging ? "token-classification" : "sequence-classification"},
                         {"pooling", "pooler"},
                         {"labels", labels},
                         {"max_length", 8},
                         {"tokenizer_sha256", tokenizer_->sha256()}},
                    files);
  }
  /// Changes a JSON file of the folder.
  template <class Change>
  void bend(const std::string& name, Change change) const {
    Json json = parse_json(content(name), {});
    change(json);
    write(name, json.dump());
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

inline const std::vector<std::string> kTags{"O", "B-P", "I-P"};

}  // namespace fmtrain
