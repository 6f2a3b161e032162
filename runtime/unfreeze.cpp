#include "runtime/unfreeze.h"

#include <ATen/ATen.h>

#include "runtime/errors.h"
#include "runtime/parameter_place.h"

namespace fmtrain {
namespace {

int64_t interval(const FinetuneSection& finetune, int64_t steps_per_epoch) {
  return finetune.unfreeze_every->steps > 0 ? finetune.unfreeze_every->steps : steps_per_epoch;
}

std::string name_at(int64_t depth, int64_t layers) {
  return depth == 0 ? "head" : depth > layers ? "embeddings" : "layer " + std::to_string(layers - depth);
}

}  // namespace

int64_t trained_depth(const FinetuneSection& finetune, int64_t step, int64_t steps_per_epoch) {
  return step / interval(finetune, steps_per_epoch);
}

std::vector<Unfreezing> unfreeze_schedule(const FinetuneSection& finetune, TaskModel& model, int64_t steps_per_epoch) {
  if (!finetune.unfreeze_every) return {};
  const int64_t layers = model.config().layers;
  std::vector<Unfreezing> schedule;
  for (int64_t depth = 0; depth <= layers + 1; ++depth) {
    Unfreezing joins{depth * interval(finetune, steps_per_epoch), name_at(depth, layers)};
    for (const auto& p : model.parameters()) {
      if (!p.value.requires_grad() || depth_below_head(place_of(p.name), layers) != depth) continue;
      ++joins.tensors;
      joins.elements += p.value.numel();
    }
    if (joins.tensors > 0) schedule.push_back(joins);
    else if (depth == 0) throw ConfigError("finetune.unfreeze_every: begins with the head, and finetune.freeze keeps all of that as it is");
  }
  return schedule;
}

std::string unfreeze_text(const std::vector<Unfreezing>& schedule, int64_t total_steps) {
  std::string text, never;
  for (const auto& joins : schedule) {
    if (joins.step >= total_steps) never += (never.empty() ? "; never in " + std::to_string(total_steps) + " steps: " : ", ") + joins.what;
    else text += (text.empty() ? "" : ", from step " + std::to_string(joins.step) + " ") + joins.what;
  }
  return text + never;
}

}  // namespace fmtrain
