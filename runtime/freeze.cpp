#include <fnmatch.h>
#include <ATen/ATen.h>

#include "runtime/errors.h"
#include "runtime/parameter_place.h"
#include "runtime/run_inputs.h"

namespace fmtrain {
namespace {

bool frozen(const FinetuneSection& finetune, const std::string& name) {
  const auto place = place_of(name);
  if (finetune.freeze_backbone && place.backbone()) return true;
  if (finetune.freeze_embeddings && place.part == ParameterPlace::kEmbeddings) return true;
  if (place.part == ParameterPlace::kLayer && place.layer < finetune.freeze_layers) return true;
  for (const auto& pattern : finetune.patterns)
    if (fnmatch(pattern.c_str(), name.c_str(), 0) == 0) return true;
  return false;
}

void check_patterns(const FinetuneSection& finetune, TaskModel& model) {
  for (const auto& pattern : finetune.patterns) {
    bool matched = false;
    for (const auto& p : model.parameters()) matched = matched || fnmatch(pattern.c_str(), p.name.c_str(), 0) == 0;
    if (!matched) throw ConfigError("finetune.freeze: the pattern " + quoted(pattern) + " matches no parameter (names as in `fmtrain check --json`)");
  }
  if (finetune.freeze_layers > model.config().layers)
    throw ConfigError("finetune.freeze.layers: " + std::to_string(finetune.freeze_layers) + ", but the model has " +
                      std::to_string(model.config().layers) + " layers");
}

}  // namespace

std::vector<ParameterGroup> apply_freeze(const FinetuneSection& finetune, TaskModel& model) {
  check_patterns(finetune, model);
  std::vector<ParameterGroup> groups{{"decay", 0, 0}, {"no decay", 0, 0}, {"frozen", 0, 0}};
  for (auto& p : model.parameters()) {
    const bool freeze = frozen(finetune, p.name);
    p.value.requires_grad_(!freeze);
    auto& group = groups[freeze ? 2 : p.decays ? 0 : 1];
    ++group.tensors;
    group.elements += p.value.numel();
  }
  if (groups[0].tensors + groups[1].tensors == 0) throw ConfigError("finetune.freeze: every parameter is frozen, nothing is left to train");
  return groups;
}

}  // namespace fmtrain
