// Shape of a BERT-family encoder and its head, and the words config files use for them. Plain data: no LibTorch.
#pragma once
#include <cstdint>
#include <string>

namespace fmtrain {

enum class Task { kTokenClassification, kSequenceClassification };
enum class Pooling { kPooler, kCls, kMean };
enum class Precision { kFp32, kBf16, kFp16 };

/// Dropout probabilities in [0, 1).
struct DropoutRates {
  double hidden = 0.1, attention = 0.1, head = 0.1;
};

/// Shape of a BERT-family encoder (keys of Hugging Face's config.json) and of the head on top.
struct ModelConfig {
  int64_t vocab_size = 0, hidden_size = 0, layers = 0, heads = 0, intermediate_size = 0, max_positions = 0, type_vocab_size = 2;
  double layer_norm_eps = 1e-12, initializer_range = 0.02;
  std::string activation = "gelu";  ///< gelu (erf) only
  Task task = Task::kTokenClassification;
  Pooling pooling = Pooling::kPooler;
  int64_t labels = 0;
  DropoutRates dropout;
  Precision precision = Precision::kFp32;
  int64_t recompute = 0;  ///< layers of a segment that keeps its input only and is computed again in backward; 0: none
};

}  // namespace fmtrain
