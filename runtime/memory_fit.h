// What a rank needs of memory, predicted from shapes, and the setting that fits into what there is. Arithmetic only, but for
// memory_needs(). Formulas: docs/training.md, memory; beside measurements: bench/results/memory.md.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "models/model_config.h"
#include "runtime/config/config.h"
#include "runtime/report/memory.h"

namespace fmtrain {

struct RunInputs;

/// Tensors of so many bytes come from the kernel and go back there when they are freed; smaller ones stay in the heap (mallopt in
/// launch/main.cpp).
inline constexpr int64_t kMappedBytes = 32 << 20;

/// Tokens of one packed row, the sum of the squares of its samples' lengths (attention may keep a square a head), and how many tokens the
/// last layer leaves out after attention.
struct LeafSize {
  int64_t tokens = 0, squares = 0, left_out = 0;
};

/// The keys that advice may change.
struct FitSetting {
  int64_t stage = 0;      ///< engine.zero
  int64_t recompute = 0;  ///< layers of a segment; 0: none
  int64_t micro = 1;      ///< batch.micro
  bool by_node = false;   ///< engine.shard_group: node
  bool operator==(const FitSetting&) const = default;
};
FitSetting setting_of(const Config& config);

/// What the memory of a rank depends on besides the setting.
struct MemoryNeeds {
  ModelConfig shape;
  int64_t trained = 0, frozen = 0;  ///< elements
  int64_t small = 0;                ///< elements of the trained tensors below kMappedBytes
  int64_t largest_tensor = 0;       ///< elements
  int64_t products = 0;             ///< elements of the weights that have a bf16 or fp16 copy; 0 in fp32
  int64_t trained_products = 0;     ///< of these, what is trained
  int64_t table = 0;                ///< elements of the word table, if it is trained
  bool one_pass = false;            ///< updates read each element of the gradient once (Optimizer::one_pass)
  bool one_node = true;             ///< has all ranks
  int64_t trained_layers = 0;       ///< encoder layers from the first that gradients reach; below it nothing is kept
  int64_t states = 2;               ///< fp32 values of the optimizer for every trained parameter
  bool exact = true, async = true, gpu = false, offload = false;
  bool widened = false;             ///< products of 16 bits are made in fp32 (multiplies() of product.h); counted where a layer is one operation
  bool in_place = false;            ///< weights are read where they stay
  int64_t global = 1;               ///< samples of an update
  int ranks = 1, ranks_per_node = 1;
  int64_t evaluation_tokens = 0;    ///< of the largest evaluation batch; 0: no evaluation
  /// The leaf of the run that keeps the most, for a micro batch.
  std::function<LeafSize(int64_t micro)> largest_leaf;
};
/// After apply_freeze. `inputs` must outlive the result, whose largest_leaf looks through the plan of the run: all steps, or as many,
/// evenly spread, as hold 2^18 samples.
MemoryNeeds memory_needs(const Config& config, const RunInputs& inputs, int ranks, int ranks_per_node, bool gpu);

/// Bytes of one rank, predicted.
struct RankMemory {
  int64_t parameters = 0, low_copy = 0, gradients = 0;  ///< low_copy: bf16 or fp16; gradients: with partial sums
  int64_t buckets = 0;      ///< of gradients between backward and their reduction
  int64_t optimizer = 0;
  int64_t activations = 0;  ///< peak of forward and backward of one leaf, above all else
  int64_t evaluation = 0;   ///< peak of an evaluation batch, when no activations are there
  int64_t snapshot = 0;     ///< what an async save copies
  int64_t loading = 0;      ///< peak before the first update: parameters as they were read, beside those that are trained; in_place: 0
  int64_t freed = 0;        ///< of these what the heap keeps afterwards; activations are put there
  int64_t reading = 0;      ///< of the best model at the end of the run, tensor by tensor
  int64_t on_host = 0;      ///< engine.offload: host memory, not in total(): state, and values and gradients of an update
  int64_t process = 0;      ///< what a process holds besides tensors (a GPU: its context): measured, not derived
  /// process, and the larger of loading and the sum of the others; of activations, evaluation, freed and reading, which are never
  /// there together, the largest.
  int64_t total() const;
};
RankMemory predict(const MemoryNeeds& needs, const FitSetting& setting);

/// Bytes that a host's ranks share, in /dev/shm: each has `by_rank`, all together `once`. At least: beside buffers of 2 MiB a rank. 0 on GPUs.
struct SharedBytes {
  int64_t by_rank = 0, once = 0;
};
SharedBytes shared_bytes(const MemoryNeeds& needs, const FitSetting& setting);

/// The largest batch.micro (a divisor of batch.global that leaves every rank a leaf) whose total() is at most `bytes` with stage and
/// recompute as in `setting`, whose own micro does not count; 0: none fits. For a run that ran out of memory: give it what a rank
/// may have, and the advice is a micro below the one that failed.
int64_t largest_micro(const MemoryNeeds& needs, const FitSetting& setting, int64_t bytes);

/// Another setting that fits.
struct Change {
  FitSetting setting;
  int64_t total = 0;  ///< bytes
};
/// Settings that fit into `bytes`, the cheapest change first; {the setting as it is} when that fits, {} when nothing does. None
/// changes a key that another one leaves alone without need. The order, by what a change costs:
/// 1. engine.zero, the lowest stage that fits, if need be with engine.shard_group: world: equal bits, no slower on a host, and the run goes
///    on from its checkpoints;
/// 2. engine.recompute: full: equal bits and checkpoints, a third more computing;
/// 3. batch.micro, the largest that fits: other bits, and no earlier checkpoint of the run is continued.
/// batch.global stays: it would be another training.
std::vector<Change> settings_that_fit(const MemoryNeeds& needs, const FitSetting& setting, int64_t bytes);

/// Memory that a rank may take, bytes: its share of the GPU (`gpu`), else of the host or of the control group it is in.
/// `source`: "gpu", "host", "cgroup". 0: unknown.
MemoryLimit memory_of_rank(bool gpu, int ranks_per_node);

/// total() of the setting that needs the least.
int64_t least_memory(const MemoryNeeds& needs, const FitSetting& setting);

/// "engine.zero: 1, batch.micro: 8": the keys in which `setting` differs from `now`.
std::string change_text(const FitSetting& now, const FitSetting& setting);

/// One line for a run that starts and would need more than `bytes` a rank; "" when it fits.
std::string memory_warning(const MemoryNeeds& needs, const FitSetting& setting, int64_t bytes);

}  // namespace fmtrain
