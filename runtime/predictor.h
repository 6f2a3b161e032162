// What a fine-tuned model says about plain texts.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/model_config.h"

namespace fmtrain {

struct PredictedEntity {
  std::string type;
  int64_t start = 0, end = 0;  ///< code points of the text
  std::string text;            ///< that part of the text
  double score = 0;            ///< mean probability of the labels of its words, in (0, 1]
};

struct Prediction {
  std::vector<PredictedEntity> entities;               ///< token classification
  std::string label;                                   ///< sequence classification
  std::vector<std::pair<std::string, double>> scores;  ///< probability of every label, largest first
};

class Predictor {
 public:
  virtual ~Predictor() = default;
  virtual Task task() const = 0;
  /// One prediction a text, in order. Tagging: a word is what the tokenizer's pre-tokeniser calls one, its label is that of
  /// its first token, entities are strict IOB2; a text longer than the model was trained for is read in several windows.
  /// Classification: a longer text is cut. Throws DataError "text N: ..." (from 1) for invalid UTF-8.
  virtual std::vector<Prediction> predict(std::span<const std::string> texts) = 0;
};

/// `model_dir` is the model/ directory of a run. Throws ConfigError, also when the tokenizer is not the model's.
std::unique_ptr<Predictor> make_predictor(const std::string& model_dir, Precision precision);

}  // namespace fmtrain
