// Gradual unfreezing (Howard & Ruder, "Universal language model fine-tuning for text classification", ACL 2018, section 3.3): first
// the head alone is trained, then one layer more after each interval, the last one first, the embeddings at the end.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "models/task_model.h"
#include "runtime/config/config.h"

namespace fmtrain {

/// How far below the head (parameter_place.h) update `step`, from 0, trains. A function of the step alone: nothing of it is saved.
/// finetune.unfreeze_every must be set.
int64_t trained_depth(const FinetuneSection& finetune, int64_t step, int64_t steps_per_epoch);

/// What joins before an update.
struct Unfreezing {
  int64_t step = 0;  ///< updates done before
  std::string what;  ///< "head", "layer 5" (as in names of parameters, from 0), "embeddings"
  int64_t tensors = 0, elements = 0;
};

/// In the order of joining, without parts that finetune.freeze keeps as they are (apply_freeze comes first); empty without
/// finetune.unfreeze_every. Throws ConfigError when it leaves nothing to train at the start.
std::vector<Unfreezing> unfreeze_schedule(const FinetuneSection& finetune, TaskModel& model, int64_t steps_per_epoch);

/// "head, from step 100 layer 5, from step 200 layer 4; never in 250 steps: layer 3, embeddings".
std::string unfreeze_text(const std::vector<Unfreezing>& schedule, int64_t total_steps);

}  // namespace fmtrain
