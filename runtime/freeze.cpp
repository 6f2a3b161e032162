#include <fnmatch.h>
#include <ATen/ATen.h>

#include "runtime/errors.h"
#include "runtime/run_inputs.h"

namespace fmtrain {
namespace {

bool starts_with(const std::string& s, const std::string& prefix) { return s.compare(0, prefix.size(), prefix) == 0; }

bool in_first_layers(const std::string& name, int64_t layers) {
  const std::string prefix = "bert.encoder.layer.";
  return starts_with(name, prefix) && std::stoll(name.substr(prefix.size())) < layers;
}

bool frozen(const FinetuneSection& finetune, const std::string& name) {
  if (finetune.freeze_backbone && starts_with(name, "bert.")) return true;
  if (finetune.freeze_embeddings && starts_with(name, "bert.embeddings.")) return true;
  if (in_first_layers(name, finetune.freeze_layers)) return true;
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
