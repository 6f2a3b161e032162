// A model with a head for one task: tensors in, tensors out. It knows nothing of ranks, files or YAML.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/batch.h"
#include "models/model_config.h"

namespace fmtrain {

class PackedWeights;

/// How one forward pass is run.
struct Pass {
  bool training = false;  ///< dropout on
  uint64_t seed = 0;      ///< run.seed; with step and sample ids it fixes every dropout bit
  int64_t step = 0;       ///< global update number, from 0
  PackedWeights* packed = nullptr;  ///< of this model (models/ops/product.h), for passes without gradients between which no parameter changes
};

/// Sum (not mean) of the losses of the valid targets of one leaf, and their number.
struct Loss {
  at::Tensor sum;  ///< fp32 scalar on the graph
  int64_t count = 0;
};

/// A parameter under its Hugging Face name, e.g. "bert.encoder.layer.0.output.dense.weight" or "classifier.bias".
struct NamedParameter {
  std::string name;
  at::Tensor value;   ///< fp32 leaf of the autograd graph
  bool decays = true; ///< false for biases and norm weights
};

/// Receives the gradient of parameters()[parameter], in the type in which its product made it. Called inside backward.
using GradientSink = std::function<void(size_t parameter, const at::Tensor& gradient)>;
/// Memory for it, contiguous, of the parameter's shape and of that type; undefined: anywhere. A product that can puts it there, and the sink
/// then receives this very memory.
using GradientPlace = std::function<at::Tensor(size_t parameter)>;

class TaskModel {
 public:
  virtual ~TaskModel() = default;
  virtual const ModelConfig& config() const = 0;
  /// All parameters in forward order (embeddings first, head last). The order is fixed by the config.
  virtual std::vector<NamedParameter>& parameters() = 0;
  /// fp32 logits: [T, labels] for token classification, [S, labels] for sequence classification.
  virtual at::Tensor logits(const Batch& batch, const Pass& pass) = 0;
  /// logits() of batch.target_rows alone where they are listed, [their number, labels]: what loss() and metrics read.
  virtual at::Tensor target_logits(const Batch& batch, const Pass& pass) = 0;
  /// fp32 [T, hidden_size], the encoder's last hidden state.
  virtual at::Tensor hidden_states(const Batch& batch, const Pass& pass) = 0;
  /// logits() from hidden_states() of the same batch and pass, without running the encoder again.
  virtual at::Tensor logits_from(const at::Tensor& hidden, const Batch& batch, const Pass& pass) = 0;
  /// Cross-entropy summed over batch.targets != kIgnoreTarget; differentiable. The gradient of a large embedding may be sparse.
  virtual Loss loss(const Batch& batch, const Pass& pass) = 0;
  /// The values of the parameters were changed (or rebound to other storage) from outside: refresh low-precision copies.
  virtual void parameters_changed() = 0;
  /// The 16-bit copy of parameter number i that products read in its place, contiguous; undefined: there is none. Whoever changes the
  /// parameter may write its rounded values here, and then need not say so, and may give it other memory once (set_data).
  virtual at::Tensor low_copy(size_t) const { return {}; }
  /// Gradients that operations of this program's own make go to `sink` as soon as they are there, and not through the graph, which would
  /// convert each to fp32 first; the others go to their parameter's grad() as ever. {}: all of them do, as for models without such.
  /// A loss that has a parameter from elsewhere too, or runs the encoder twice, must not use it: the sums are the graph's work.
  virtual void send_gradients(GradientSink /*sink*/, GradientPlace /*place*/ = {}) {}
  /// True: the sink receives the gradient of parameter number i as bf16, always.
  virtual bool sends_bf16(size_t) const { return false; }
};

/// Which parameters get values when a model is built; the others have a shape and no memory until set_data() gives them some, and after
/// that parameters_changed() is to be called.
enum class Initial { kAll, kHead };

/// Build a model with its parameters at counter-based initial values f(seed, name, element): normal(0, initializer_range)
/// for weights, 0 for biases, 1 for norm weights. Throws c10::Error on impossible shapes.
std::unique_ptr<TaskModel> make_bert(const ModelConfig& config, uint64_t seed, Initial initial = Initial::kAll);

/// Useful floating-point operations of one real token in a sample of `length` tokens, training (forward + backward):
/// 6 * P_enc + 12 * L * d * length, embeddings not counted (design: performance, section 3). Evaluation is a third.
double train_flop_per_token(const ModelConfig& config, double length);

}  // namespace fmtrain
