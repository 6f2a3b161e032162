#include "runtime/parameter_place.h"

namespace fmtrain {

ParameterPlace place_of(const std::string& name) {
  const std::string layers = "bert.encoder.layer.";
  if (name.starts_with("bert.embeddings.")) return {ParameterPlace::kEmbeddings};
  if (name.starts_with(layers)) return {ParameterPlace::kLayer, std::stoll(name.substr(layers.size()))};
  return {name.starts_with("bert.") ? ParameterPlace::kPooler : ParameterPlace::kHead};
}

int64_t depth_below_head(const ParameterPlace& place, int64_t layers) {
  switch (place.part) {
    case ParameterPlace::kEmbeddings:
      return layers + 1;
    case ParameterPlace::kLayer:
      return layers - place.layer;
    default:
      return 0;
  }
}

}  // namespace fmtrain
