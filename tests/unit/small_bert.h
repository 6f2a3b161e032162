// A small random model and the leaves of its steps, for tests of engines.
#pragma once
#include <ATen/ATen.h>

#include "models/task_model.h"

namespace fmtrain {

inline constexpr int64_t kSlots = 8;

inline ModelConfig small_bert() {
  ModelConfig c;
  c.vocab_size = 300;
  c.hidden_size = 32;
  c.layers = 2;
  c.heads = 4;
  c.intermediate_size = 64;
  c.max_positions = 32;
  c.labels = 5;
  return c;
}

/// Leaf number `slot` of step `step`: a few samples that depend on both.
inline Batch leaf(int64_t step, int64_t slot) {
  Batch b;
  const int64_t samples = 2, length = 5 + slot % 3;
  b.tokens = (at::arange(samples * length) * 37 + 11 * slot + 101 * step) % 300;
  b.types = at::zeros_like(b.tokens);
  b.positions = at::arange(length).repeat({samples});
  b.offsets = at::arange(samples + 1) * length;
  b.sample_ids = at::arange(samples) + 16 * step + 2 * slot;
  b.targets = b.tokens % 5;
  b.valid_targets = samples * length;
  return b;
}

/// Targets of the kSlots leaves of a step.
inline constexpr double kTargets = 2 * (5 + 6 + 7 + 5 + 6 + 7 + 5 + 6);

}  // namespace fmtrain
