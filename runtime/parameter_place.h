// Where a parameter stands in the model, told by its name in Hugging Face's layout.
#pragma once
#include <cstdint>
#include <string>

namespace fmtrain {

struct ParameterPlace {
  enum Part { kEmbeddings, kLayer, kPooler, kHead };
  Part part = kHead;
  int64_t layer = 0;  ///< of kLayer, from 0
  /// Everything below the head: what comes from the pretrained model.
  bool backbone() const { return part != kHead; }
  /// What every pretrained model has, whatever it was trained for.
  bool encoder() const { return part == kEmbeddings || part == kLayer; }
};

/// Names with "bert." only: those of the model, not of a foreign file. What is neither embeddings, encoder nor pooler is the head.
ParameterPlace place_of(const std::string& name);

/// Steps down from the head in a model of `layers` encoder layers: head and pooler 0, last layer 1, ..., first layer `layers`,
/// embeddings one more.
int64_t depth_below_head(const ParameterPlace& place, int64_t layers);

}  // namespace fmtrain
