// One post-norm transformer encoder layer (Vaswani et al., 2017; BERT) over packed rows, as one differentiable operation:
//   attended = norm(dropout(attention(x) W_o + b_o) + x);  y = norm(dropout(gelu(attended W_1 + b_1) W_2 + b_2) + attended)
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "models/ops/attention.h"
#include "models/ops/dropout.h"
#include "models/ops/product.h"

namespace fmtrain {

/// The parameters of a layer by their place in EncoderLayer::parameters, in the order in which they stand in the model.
enum LayerParameter : size_t {
  kQueryWeight, kKeyWeight, kValueWeight, kQueryBias, kKeyBias, kValueBias, kContextWeight, kContextBias, kAttendedNormWeight,
  kAttendedNormBias, kWideWeight, kWideBias, kOutputWeight, kOutputBias, kOutputNormWeight, kOutputNormBias, kLayerParameters
};

/// Weight [out, in] and bias [out] of a product, in the type that products have; not on the graph.
struct ProductWeight {
  at::Tensor weight, bias;
};

struct EncoderLayer {
  std::vector<at::Tensor> parameters;  ///< fp32, on the graph: they receive the gradients
  ProductWeight qkv, context, wide, output;  ///< their values for products; qkv: queries, keys, values side by side [3 d, d]
  int64_t heads = 0;
  double norm_eps = 0;
  std::function<void(size_t, const at::Tensor&)> sink;  ///< receives the gradients, by LayerParameter, in their own type; none: the graph does
  std::function<at::Tensor(size_t)> place;  ///< for them, as GradientPlace (task_model.h), or none
};

/// What a pass knows of its rows.
struct LayerPass {
  PackedRows rows;
  at::Tensor positions, samples;  ///< int64 [T]: position and sample id of each row, for the masks
  DropoutKey attention, context, output;
  /// int64 [O], ascending: the rows whose y is wanted. Attention reads the others too; what follows it is not computed for them.
  /// Undefined: all.
  at::Tensor outputs = {};
  PackedWeights* packed = nullptr;  ///< for a pass without gradients
};

/// True where encoder_layer has kernels: on the CPU, in fp32 and bf16.
bool has_encoder_layer(at::Device device, at::ScalarType type);

/// x [rows, d] of the products' type, the rows beyond T zero: products want few different row counts (product.h). Returns the same, of
/// the outputs: O rows and zeros up to a multiple of kRowMultiple. Gradients of weights have the products' type, those of the others are fp32. Keeps 12 rows of d for backward (with m = 4 d), and
/// two numbers a row and head. Backward runs once.
at::Tensor encoder_layer(const at::Tensor& x, const EncoderLayer& layer, const LayerPass& pass);

/// The same from LibTorch's operations, for every device and type: x [T, d] fp32 -> y of the outputs [O, d]. `type`: of the products.
at::Tensor encoder_layer_reference(const at::Tensor& x, const EncoderLayer& layer, const LayerPass& pass, at::ScalarType type);

}  // namespace fmtrain
