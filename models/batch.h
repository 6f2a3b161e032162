// One packed batch: S samples laid end to end in one row of T tokens. There is no padding anywhere.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fmtrain {

/// Target value that carries no loss and no metric.
inline constexpr int64_t kIgnoreTarget = -100;

struct Batch {
  at::Tensor tokens;      ///< int64 [T]: ids in the vocabulary
  at::Tensor types;       ///< int64 [T]: segment ids (0 for single texts)
  at::Tensor positions;   ///< int64 [T]: 0.. within its own sample
  at::Tensor offsets;     ///< int64 [S+1], always on the CPU: sample s owns rows offsets[s]..offsets[s+1]
  at::Tensor sample_ids;  ///< int64 [S], always on the CPU: ids in the data set; they key the dropout masks
  at::Tensor targets;     ///< int64 [T] (token classification, kIgnoreTarget where unlabelled) or [S] (sequence classification)
  at::Tensor target_rows; ///< int64: the rows whose targets carry loss, ascending (token classification); or undefined: not listed
  int64_t valid_targets = 0;  ///< number of targets that are not kIgnoreTarget
  int64_t samples() const { return offsets.size(0) - 1; }
  int64_t length() const { return tokens.size(0); }
};

/// batch.targets of the rows of TaskModel::target_logits().
at::Tensor targets_of_logits(const Batch& batch);

/// The batch with its tensors on `device`, except for those that stay on the CPU; itself where they are there already. The
/// copies to a GPU are ordered with its current stream and do not wait for it.
Batch to(const Batch& batch, at::Device device);

}  // namespace fmtrain
