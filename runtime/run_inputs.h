// What a run starts from: tokenizer, prepared data sets, and the model with its frozen parameters.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "models/task_model.h"
#include "runtime/config/config.h"
#include "runtime/data/dataset.h"
#include "runtime/json.h"
#include "runtime/model_dir.h"
#include "runtime/text/tokenizer.h"

namespace fmtrain {

struct RunInputs {
  std::string model_dir;
  std::unique_ptr<Tokenizer> tokenizer;
  std::vector<std::string> labels;
  std::unique_ptr<Dataset> train, validation, test;  ///< validation and test may be absent
  std::unique_ptr<TaskModel> model;
  std::string base_sha256;                           ///< of the pretrained weights; empty: random
  std::vector<std::string> notes;                    ///< lines for the log: ignored tensors, new heads, preparation
};

/// When the encoder gets its pretrained values; kLater: with load_base(), until when its parameters have a shape and no memory.
enum class Base { kNow, kLater };
/// Of a run: on the CPU weights are read where they stay, which the engine makes.
Base base_of(const Config& config, bool gpu);

/// Collective when data must be prepared: rank 0 does it while the others wait. `device` is the model's.
RunInputs load_inputs(const Config& config, Communicator& comm, at::Device device, Base base = Base::kNow);

/// Collective. The pretrained weights, into parameters on the CPU; fills base_sha256, which must be the same on every rank, and notes.
void load_base(RunInputs& inputs, const Config& config, Communicator& comm, WritingShare share);

/// The prepared files of a config, made now when missing: {"train", file}, {"validation", file}, ... as far as they are named.
std::vector<std::pair<std::string, std::string>> prepare_inputs(const Config& config);

/// What must be equal for a checkpoint to be continued by this run. `device`: "cpu" or "cuda:N".
Json fingerprint(const Config& config, const RunInputs& inputs, const std::string& device);

/// Parameters that share their treatment, for the log.
struct ParameterGroup {
  std::string name;  ///< "decay", "no decay", "frozen"
  int64_t tensors = 0, elements = 0;
};

/// Marks the parameters named by finetune.freeze as frozen and lists the groups. Throws ConfigError when a pattern matches
/// nothing or nothing is left to train.
std::vector<ParameterGroup> apply_freeze(const FinetuneSection& finetune, TaskModel& model);

}  // namespace fmtrain
