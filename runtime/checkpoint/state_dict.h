// What a checkpoint saves and loads: pieces of global tensors, addressed by offset, plus a small JSON state.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/json.h"

namespace fmtrain {

/// A contiguous range of one global tensor. The same global tensor may be cut differently by every rank count.
struct TensorPiece {
  std::string name;            ///< "param/NAME", "exp_avg/NAME", "exp_avg_sq/NAME", "momentum/NAME", ...
  std::vector<int64_t> shape;  ///< of the global tensor
  int64_t offset = 0;          ///< first element of the piece in the flattened global tensor
  at::Tensor data;             ///< 1-D contiguous view into live memory: read by save, written by load
};

struct StateDict {
  std::vector<TensorPiece> pieces;
  Json small = Json::object();  ///< step, counters, ...; saved by rank 0
};

class Stateful {
 public:
  virtual ~Stateful() = default;
  /// This rank's share: over all ranks every element of every tensor exactly once.
  virtual StateDict state() = 0;
  /// Where load puts everything this rank needs (at stage 0: the whole tensors). small is filled by the loader.
  virtual StateDict targets() = 0;
  /// Called after the pieces of targets() were filled.
  virtual void load_state(const Json& small) = 0;
};

}  // namespace fmtrain
