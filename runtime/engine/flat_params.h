// The flat layout: every trainable parameter at a fixed place of one long fp32 array, each on a 64-byte boundary. Arithmetic
// first (FlatLayout, ShardPlan), memory second (FlatParams).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "models/task_model.h"
#include "runtime/checkpoint/state_dict.h"

namespace fmtrain {

/// Elements between boundaries: 16 floats are 64 bytes.
inline constexpr int64_t kAlignment = 16;

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

/// Who owns which range of the flat layout.
struct ShardPlan {
  int64_t numel;
  int world;
  /// [first, second) of `rank`: nearly equal multiples of kAlignment that tile 0..numel.
  std::pair<int64_t, int64_t> range(int rank) const;
};

class FlatParams {
 public:
  /// Moves the values of `trainable` into flat memory and rebinds them to views of it.
  explicit FlatParams(std::vector<NamedParameter> trainable);
  const FlatLayout& layout() const { return layout_; }
  const at::Tensor& values() const { return values_; }  ///< fp32 [layout().numel]
  const std::vector<NamedParameter>& parameters() const { return parameters_; }

 private:
  std::vector<NamedParameter> parameters_;
  FlatLayout layout_;
  at::Tensor values_;
};

/// The parts of `flat` (laid out as `layout`) inside [first, last), one piece a tensor, named prefix + tensor name.
void append_pieces(std::vector<TensorPiece>& pieces, const std::string& prefix, const FlatLayout& layout, const at::Tensor& flat,
                   std::pair<int64_t, int64_t> range);

}  // namespace fmtrain
