// The flat layout: every trainable parameter at a fixed place of one long fp32 array, each on a 64-byte boundary. Arithmetic
// first (FlatLayout), memory second (FlatParams).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/task_model.h"
#include "runtime/checkpoint/state_dict.h"
#include "runtime/engine/shard_plan.h"

namespace fmtrain {

/// Elements between boundaries: 16 floats are 64 bytes.
inline constexpr int64_t kAlignment = 16;
/// To the next boundary.
constexpr int64_t aligned(int64_t numel) { return (numel + kAlignment - 1) / kAlignment * kAlignment; }

struct FlatTensor {
  std::string name;
  std::vector<int64_t> shape;
  int64_t offset = 0, numel = 0;  ///< elements
  bool decays = true;
};

struct FlatLayout {
  std::vector<FlatTensor> tensors;
  int64_t numel = 0;  ///< with the gaps, a multiple of kAlignment
};

FlatLayout make_layout(const std::vector<NamedParameter>& trainable);

class FlatParams {
 public:
  /// Moves the values of `trainable` into `memory` (fp32, at least the layout's numel; undefined: memory of its own) and rebinds
  /// them to views of it. `values`: false: not the encoder's values, for it has none yet.
  explicit FlatParams(std::vector<NamedParameter> trainable, at::Tensor memory = {}, bool values = true);
  const FlatLayout& layout() const { return layout_; }
  const at::Tensor& values() const { return values_; }  ///< fp32 [layout().numel or more]
  const std::vector<NamedParameter>& parameters() const { return parameters_; }

 private:
  std::vector<NamedParameter> parameters_;
  FlatLayout layout_;
  at::Tensor values_;
};

/// The elements of `range` of the layout, one piece a tensor, named prefix + tensor name, as views of `memory`, whose element 0
/// is element `memory_first` of the layout.
void append_pieces(std::vector<TensorPiece>& pieces, const std::string& prefix, const FlatLayout& layout, Range range,
                   const at::Tensor& memory, int64_t memory_first);

}  // namespace fmtrain
